//! The README's plugin, which `cargo xtask plugins --tests` builds from the README's own words.

use std::path::Path;
use std::process::Command;

use crate::harness::{self, GatewayBuilder, Played};

/// Where the README's commands leave the component.
const COMPONENT: &str = "target/wasm32-wasip2/release/acme.wasm";

fn section() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, section) = text.split_once("\n## Write a plugin\n").unwrap();
    section.split_once("\n## ").unwrap().0.to_owned()
}

/// `edge.toml` as it stands there, but for where Acme is.
fn edge(section: &str, acme: &Played) -> String {
    let (_, rest) = section.split_once("`acme/edge.toml` runs it:\n\n```toml\n").unwrap();
    let (config, _) = rest.split_once("```").unwrap();
    assert!(config.contains(COMPONENT) && config.contains("127.0.0.1:9000"), "{config}");
    config.replace("127.0.0.1:9000", acme.address())
}

/// The folder of an author: the component is where the build leaves it.
fn author() -> GatewayBuilder {
    let builder = GatewayBuilder::new("");
    std::fs::create_dir_all(builder.folder().join(COMPONENT).parent().unwrap()).unwrap();
    builder.file(COMPONENT, harness::guest("readme"))
}

#[test]
fn its_plugin_starts_a_function_that_had_no_instance() {
    let acme = Played::acme();
    let gateway = author().config(&edge(&section(), &acme)).start();
    let reply = gateway.get("/function/scratch.dev");
    assert_eq!((reply.status, reply.text().as_str()), (200, "scratch on Acme"));
    let writes: Vec<_> = acme.log().into_iter().filter(|asked| asked["method"] == "PUT").collect();
    assert_eq!(writes.len(), 1, "{writes:?}");
    assert_eq!(writes[0]["target"], "/apps/scratch");
    assert_eq!(gateway.get("/function/nobody.dev").code(404), "function_not_found");
}

#[test]
fn its_plugin_does_what_the_contract_says() {
    let (acme, section) = (Played::acme(), section());
    let builder = author().file("edge.toml", edge(&section, &acme));
    let (_, rest) = section.split_once("`wicketgate plugin check ").unwrap();
    let (words, _) = rest.split_once('`').unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_wicketgate"))
        .args(["plugin", "check"])
        .args(words.split_whitespace())
        .current_dir(builder.folder())
        .output()
        .unwrap();
    let page = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{page}{}", String::from_utf8_lossy(&output.stderr));
    assert!(page.lines().last().unwrap().contains(" 0 failed"), "{page}");
}
