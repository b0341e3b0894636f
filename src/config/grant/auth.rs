//! `auth` of a grant: how the gateway proves who it is.

use std::path::PathBuf;

use super::super::problem::chain;
use super::super::section::Section;
use crate::host::grant::{Auth, AwsAuth, AwsKeys, BasePath, Connect};

/// Reads the kinds, at most one of which may be there.
const KINDS: [&str; 4] = ["basic", "header", "bearer-file", "aws"];

pub(super) fn read(section: &Section<'_>) -> Auth {
    let section = section.section("auth");
    let basic = basic_files(&section);
    let header = section.section("header");
    let name = header.parsed::<http::HeaderName>("name");
    let file = header.secret_file("file");
    if header.is_present() && !(header.has("name") && header.has("file")) {
        header.problem("needs both: { name = \"X-Token\", file = \"/run/secrets/token\" }");
    }
    let bearer = section.secret_file("bearer-file");
    let aws = aws(&section.section("aws"));
    let found = KINDS.into_iter().filter(|key| section.has(key)).count();
    if found > 1 || (section.is_present() && found == 0) {
        section.problem("must have exactly one of basic, header, bearer-file and aws");
    }
    if let Some((user_file, password_file)) = basic {
        Auth::Basic { user_file, password_file }
    } else if let Some((name, file)) = name.zip(file) {
        Auth::Header { name, file }
    } else if let Some(file) = bearer {
        Auth::Bearer { token: file.into() }
    } else {
        aws.map_or(Auth::None, |aws| Auth::Aws(Box::new(aws)))
    }
}

/// `basic = { user-file, password-file }`.
pub(in super::super) fn basic_files(section: &Section<'_>) -> Option<(PathBuf, PathBuf)> {
    let basic = section.section("basic");
    let user = basic.secret_file("user-file");
    let password = basic.secret_file("password-file");
    if basic.is_present() && !(basic.has("user-file") && basic.has("password-file")) {
        basic.problem("needs both: { user-file = \"...\", password-file = \"...\" }");
    }
    user.zip(password)
}

/// `aws = { region, service, ... }` with one source of keys.
fn aws(section: &Section<'_>) -> Option<AwsAuth> {
    let region = section.text("region").map(str::to_owned);
    let service = section.text("service").map(str::to_owned);
    let (access, secret) = (section.secret_file("access-key-file"), section.secret_file("secret-key-file"));
    let session_token = section.secret_file("session-token-file");
    let file = section.secret_file("credentials-file");
    let profile = section.text("profile").unwrap_or("default").to_owned();
    let token_file = section.secret_file("container-token-file");
    let container = container(section, token_file);
    if !section.is_present() {
        return None;
    }
    for (key, text) in [("region", &region), ("service", &service)] {
        let is_name =
            |text: &String| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !text.as_ref().is_some_and(is_name) {
            section.problem_at(key, "is needed; write e.g. region = \"eu-west-1\", service = \"ecs\"");
        }
    }
    let sources = ["access-key-file", "credentials-file", "container"].into_iter().filter(|key| section.has(key));
    if sources.count() != 1 || section.has("access-key-file") != section.has("secret-key-file") {
        section.problem(
            "needs one source of keys: access-key-file with secret-key-file, credentials-file, or \
             container = \"environment\"",
        );
    }
    let keys = if let Some((access_key, secret_key)) = access.zip(secret) {
        AwsKeys::Files { access_key, secret_key, session_token }
    } else if let Some(path) = file {
        AwsKeys::Profile { path, name: profile }
    } else {
        container?
    };
    Some(AwsAuth { region: region?, service: service?, keys })
}

/// `container = "environment"`: what ECS and EKS say to a container; or the endpoint's URL.
fn container(section: &Section<'_>, token_file: Option<PathBuf>) -> Option<AwsKeys> {
    let text = section.text("container")?;
    let read = if text == "environment" {
        from_environment(|name| std::env::var(name).ok())
    } else {
        Ok((text.to_owned(), None))
    };
    let endpoint = read.and_then(|(url, file)| {
        let (connect, path) = Connect::parse_with_base(&url).map_err(|error| chain(&error))?;
        let path = if path == BasePath::default() { "/".to_owned() } else { path.to_string() };
        Ok(AwsKeys::Container { connect, path, token_file: token_file.or(file) })
    });
    endpoint.map_err(|message: String| section.problem_at("container", message)).ok()
}

/// The endpoint's URL, and the file of the token that it wants.
fn from_environment(environment: impl Fn(&str) -> Option<String>) -> Result<(String, Option<PathBuf>), String> {
    let variable = |name: &str| environment(name).filter(|text| !text.is_empty());
    let relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(|path| format!("http://169.254.170.2{path}"));
    let url = relative.or_else(|| variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")).ok_or_else(|| {
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI are not set, so this is no container of ECS or EKS; \
         name a credentials-file"
            .to_owned()
    })?;
    let file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(PathBuf::from);
    if file.is_none() && variable("AWS_CONTAINER_AUTHORIZATION_TOKEN").is_some() {
        return Err(
            "AWS_CONTAINER_AUTHORIZATION_TOKEN is not read; write it into a file and name that as container-token-file"
                .to_owned(),
        );
    }
    Ok((url, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_environment_says_where_its_keys_are() {
        let with = |set: &'static [(&'static str, &'static str)]| {
            from_environment(move |name| {
                set.iter().find(|(known, _value)| *known == name).map(|(_known, value)| (*value).to_owned())
            })
        };
        let ecs = with(&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/1")]);
        assert_eq!(ecs, Ok(("http://169.254.170.2/v2/credentials/1".to_owned(), None)));
        let eks = with(&[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/run/token"),
        ]);
        assert_eq!(eks, Ok(("http://169.254.170.23/v1/credentials".to_owned(), Some("/run/token".into()))));
        assert!(with(&[]).unwrap_err().contains("no container of ECS or EKS"));
        let inline = with(&[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1/x"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "s3cret"),
        ]);
        assert!(!inline.unwrap_err().contains("s3cret"));
    }
}
