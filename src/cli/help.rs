//! The texts of `--help`.

pub(super) const ABOUT: &str = "\
The gateway an edge node runs in front of its functions.

It answers /function/NAME, scales a function from zero when a request needs it, and forwards the \
request. How a platform does the scaling is a plugin's business: a sandboxed WebAssembly component. \
It speaks OpenFaaS's API, so faas-cli works unchanged.";

pub(super) const AFTER: &str = "\
Examples:
  wicketgate serve                          functions are commands on this machine (the bundled example)
  wicketgate serve --config edge.toml       as the file says
  wicketgate check --config edge.toml       list every mistake in the file
  wicketgate plugin inspect acme.wasm       what a plugin is and wants, without running it
  functions_provider_url=http://faasd-provider:8081/ wicketgate serve
                                            in the place of OpenFaaS's gateway

  curl -d 'the quick brown fox' http://127.0.0.1:8080/function/wordcount

Every key of the file is explained in docs/configuration.md.

Exit status:
  0   ended as asked
  1   could not start
  64  the command line or the configuration has a mistake";

pub(super) const SERVE: &str = "\
Run the gateway until SIGTERM or SIGINT.

The first signal stops accepting and lets requests end within listen.drain-timeout (30 s); a second one \
ends at once. Lines such as `listening on http://127.0.0.1:8080` on the standard output say the real \
addresses once they accept; log lines go to the standard error.";

pub(super) const SERVE_AFTER: &str = "\
Configuration, the first that there is:
  1. the file of --config
  2. OpenFaaS's environment, if functions_provider_url is set:
       functions_provider_url    where the provider is, e.g. http://faasd-provider:8081/
       basic_auth                `true`: credentials for /system/* and the provider; `false`: for nobody
       secret_mount_path         where basic-auth-user and basic-auth-password are (/run/secrets/)
       function_namespace        the namespace of a name without one (openfaas-fn)
       scale_from_zero           `false` leaves functions without instances alone
       read_timeout, write_timeout, upstream_timeout
                                 seconds, or e.g. 1m30s
       max_idle_conns, max_idle_conns_per_host
                                 connections to instances that are kept
  3. the bundled example: functions are commands on this machine

Environment:
  WICKETGATE_LOG     what is logged, e.g. debug or info,wicketgate::scaler=debug; --log wins
  STATE_DIRECTORY    where state is kept; --state-directory and state.directory win
  XDG_STATE_HOME, HOME
                     the same, below wicketgate/, when /var/lib/wicketgate cannot be written
  NO_COLOR           a text log without colours";

pub(super) const CHECK: &str = "\
Check the configuration, list every mistake in it, and end.

Nothing is started and nothing is connected to. Files that the configuration names must be there.";

pub(super) const CHECK_AFTER: &str = "\
Examples:
  wicketgate check --config edge.toml
  functions_provider_url=http://faasd-provider:8081/ wicketgate check --print > edge.toml

Exit status: 0 without mistakes, 64 with some.";

pub(super) const COMPLETIONS_AFTER: &str = "\
Examples:
  wicketgate completions bash > /etc/bash_completion.d/wicketgate
  wicketgate completions zsh  > \"${fpath[1]}/_wicketgate\"
  wicketgate completions fish > ~/.config/fish/completions/wicketgate.fish";
