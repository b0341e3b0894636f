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
  wicketgate provider list                  what a running gateway has loaded
  wicketgate plugin inspect acme.wasm       what a plugin is and wants, without running it
  functions_provider_url=http://faasd-provider:8081/ wicketgate serve
                                            in the place of OpenFaaS's gateway

  curl -d 'the quick brown fox' http://127.0.0.1:8080/function/wordcount

Every key of the file is explained in docs/configuration.md.

Exit status:
  0   ended as asked
  1   could not start, or the running gateway refused
  64  the command line or the configuration has a mistake";

pub(super) const SERVE: &str = "\
Run the gateway until SIGTERM or SIGINT.

The first signal stops accepting and lets requests end within listen.drain-timeout (30 s); a second one \
ends at once. Lines such as `listening on http://127.0.0.1:8080` on the standard output say the real \
addresses once they accept; log lines go to the standard error.";

pub(super) const SERVE_AFTER: &str = "\
SIGHUP reads the configuration again. Changed files of the configuration and of components are noticed \
without it (reload.watch). Providers are added, replaced and removed while requests run; other keys hold \
from the next start, and the log says which.

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

pub(super) const PROVIDER: &str = "\
See and replace the plugins of a running gateway.

A provider's plugin is replaced while requests run. The new one is loaded, linked and compared with the \
contract, asks its platform, and must answer what the old one answers; only then does it take over. \
Whatever is wrong with it is told, and changes nothing. The generation before stays ready.

The gateway is found by its admin socket: --socket, or what the configuration of --config says. Only \
the user who runs the gateway can open it.";

pub(super) const PROVIDER_AFTER: &str = "\
Examples:
  wicketgate provider list --config edge.toml
  wicketgate provider show edge
  wicketgate provider swap edge new.wasm --dry-run
  wicketgate provider swap edge new.wasm
  wicketgate provider rollback edge
  wicketgate provider history edge --json
  wicketgate provider accept edge --config edge.toml    after a refusal at the step locked
  wicketgate provider tighten edge --config edge.toml   the smallest rules for what it uses

Exit status:
  0   done
  1   the gateway refused, or does not answer
  64  the command line or the configuration has a mistake";

pub(super) const SWAP: &str = "\
Replace a provider's plugin, without a gap.

The component goes through every step of the pipeline: fetched, verified, compiled, linked, typed, \
compared with its grants, probed, shadowed with what was asked last, and published; the generation \
before it is drained and stays ready for a rollback. A refusal names the step and what to do, and \
nothing that serves has changed.

Without FILE the configured component is read again. What FILE holds is kept until the next start, or \
until the configuration of the provider changes.";

pub(super) const SWAP_AFTER: &str = "\
Examples:
  wicketgate provider swap edge target/acme.wasm --dry-run
  wicketgate provider swap edge target/acme.wasm
  wicketgate provider swap edge

Exit status: 0 if it serves (with --dry-run: if it could), 1 if it was refused.";

pub(super) const COMPLETIONS_AFTER: &str = "\
Examples:
  wicketgate completions bash > /etc/bash_completion.d/wicketgate
  wicketgate completions zsh  > \"${fpath[1]}/_wicketgate\"
  wicketgate completions fish > ~/.config/fish/completions/wicketgate.fish";
