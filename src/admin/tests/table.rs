//! A platform for the tests of the admin API.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::name::{FunctionRef, Generation, Namespace, ProviderName};
use crate::query::functions::{
    FunctionDeployment, FunctionPage, FunctionStatus, LogBatch, LogRequest, NamePage, NamespaceEntry, Platform, Secret,
};
use crate::query::{Answer, ErrorKind, Interface, Provider, QueryError, ServiceQuery, ServiceStatus};

/// A platform that answers from what a test wrote down, and writes down what it was asked.
pub(super) struct Table {
    pub(super) name: ProviderName,
    pub(super) interfaces: Vec<Interface>,
    pub(super) functions: Vec<FunctionStatus>,
    pub(super) failure: Option<QueryError>,
    pub(super) batches: Mutex<Vec<LogBatch>>,
    pub(super) asked: Arc<Mutex<Vec<String>>>,
}

impl Table {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.parse().unwrap(),
            interfaces: Interface::ALL.to_vec(),
            functions: Vec::new(),
            failure: None,
            batches: Mutex::default(),
            asked: Arc::default(),
        }
    }

    pub(super) fn with_functions(mut self, names: &[&str]) -> Self {
        self.functions = names
            .iter()
            .map(|name| FunctionStatus {
                deployment: FunctionDeployment {
                    service: (*name).into(),
                    namespace: "openfaas-fn".into(),
                    ..Default::default()
                },
                replicas: 1,
                ..Default::default()
            })
            .collect();
        self
    }

    pub(super) fn down(mut self) -> Self {
        self.failure = Some(QueryError::platform(ErrorKind::Unavailable, "refused"));
        self
    }

    pub(super) fn say<'a, T: Send + 'a>(&self, what: String, answer: T) -> Answer<'a, T> {
        self.asked.lock().unwrap().push(what);
        let failure = self.failure.clone();
        Box::pin(async move { failure.map_or(Ok(answer), Err) })
    }
}

impl ServiceQuery for Table {
    fn get_replicas<'a>(&'a self, function: &'a FunctionRef) -> Answer<'a, ServiceStatus> {
        self.say(format!("get-replicas {function}"), ServiceStatus { replicas: 2, ..Default::default() })
    }

    fn set_replicas<'a>(&'a self, function: &'a FunctionRef, count: u64) -> Answer<'a, ()> {
        self.say(format!("set-replicas {function} {count}"), ())
    }
}

impl Provider for Table {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    fn has(&self, interface: Interface) -> bool {
        self.interfaces.contains(&interface)
    }

    fn generation(&self) -> Generation {
        Generation(1)
    }

    /// One function in a page, so that more than one means more than one page.
    fn list<'a>(&'a self, namespace: &'a Namespace, cursor: Option<&'a str>, limit: u32) -> Answer<'a, FunctionPage> {
        if !self.has(Interface::Functions) {
            return Box::pin(std::future::ready(Err(QueryError::not_exported(Interface::Functions))));
        }
        let index: usize = cursor.map_or(0, |cursor| cursor.parse().unwrap());
        let functions: Vec<_> = self.functions.get(index).cloned().into_iter().collect();
        let next = (index + 1 < self.functions.len()).then(|| (index + 1).to_string());
        self.say(format!("list {namespace} {cursor:?} {limit}"), FunctionPage { functions, next })
    }

    fn get<'a>(&'a self, function: &'a FunctionRef, usage: bool) -> Answer<'a, FunctionStatus> {
        match self.functions.iter().find(|status| status.deployment.service == function.name.as_str()) {
            Some(status) => self.say(format!("get {function} {usage}"), status.clone()),
            None => Box::pin(std::future::ready(Err(QueryError::platform(ErrorKind::NotFound, "no such function")))),
        }
    }

    fn deploy<'a>(&'a self, deployment: &'a FunctionDeployment) -> Answer<'a, ()> {
        self.say(format!("deploy {}.{} {}", deployment.service, deployment.namespace, deployment.image), ())
    }

    fn update<'a>(&'a self, deployment: &'a FunctionDeployment) -> Answer<'a, ()> {
        self.say(format!("update {}.{}", deployment.service, deployment.namespace), ())
    }

    fn delete<'a>(&'a self, function: &'a FunctionRef) -> Answer<'a, ()> {
        self.say(format!("delete {function}"), ())
    }

    fn list_namespaces<'a>(&'a self, _cursor: Option<&'a str>, _limit: u32) -> Answer<'a, NamePage> {
        let names = vec!["openfaas-fn".to_owned(), "dev".to_owned(), "staging".to_owned()];
        self.say("list-namespaces".into(), NamePage { names, next: None })
    }

    fn get_namespace<'a>(&'a self, name: &'a Namespace) -> Answer<'a, NamespaceEntry> {
        self.say(format!("get-namespace {name}"), NamespaceEntry { name: name.to_string(), ..Default::default() })
    }

    fn create_namespace<'a>(&'a self, entry: &'a NamespaceEntry) -> Answer<'a, ()> {
        self.say(format!("create-namespace {}", entry.name), ())
    }

    fn delete_namespace<'a>(&'a self, name: &'a Namespace) -> Answer<'a, ()> {
        self.say(format!("delete-namespace {name}"), ())
    }

    fn list_secrets<'a>(
        &'a self,
        namespace: &'a Namespace,
        _cursor: Option<&'a str>,
        _limit: u32,
    ) -> Answer<'a, NamePage> {
        self.say(format!("list-secrets {namespace}"), NamePage { names: vec!["key".into()], next: None })
    }

    fn create_secret<'a>(&'a self, secret: &'a Secret) -> Answer<'a, ()> {
        self.say(format!("create-secret {}.{} {:?}", secret.name, secret.namespace, secret.value), ())
    }

    fn logs<'a>(
        &'a self,
        request: &'a LogRequest,
        cursor: Option<&'a str>,
        _limit: u32,
        _timeout: Duration,
    ) -> Answer<'a, LogBatch> {
        let batch = self.batches.lock().unwrap().pop();
        match batch {
            Some(batch) => self.say(format!("logs {request:?} {cursor:?}"), batch),
            None => Box::pin(std::future::ready(Err(QueryError::platform(ErrorKind::Unavailable, "cut")))),
        }
    }

    fn describe(&self) -> Answer<'_, Platform> {
        let platform = Platform { name: "table".into(), orchestration: "none".into(), ..Default::default() };
        self.say("describe".into(), platform)
    }
}
