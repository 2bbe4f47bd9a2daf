//! A webhook's payload into what to run, or why it is not run.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use regex::bytes::Regex;
use rollout::base::names::CanaryId;
use serving::{Fields, Form, HttpError};
use thiserror::Error;

use crate::child::Launch;
use crate::line::{self, LineError};
use crate::programs::{ProgramError, Programs};

/// What Flagger sends; what is not read here (phase, checksum, further metadata) may be anything.
#[derive(Debug)]
pub(crate) struct Payload {
    name: String,
    namespace: String,
    metadata: Option<BTreeMap<String, String>>,
}

impl Form for Payload {
    const FIELDS: &'static [&'static str] = &[];
    const EXAMPLE: &'static str =
        r#"{"name": "web", "namespace": "prod", "metadata": {"cmd": "hey -z 1m http://web.test/"}}"#;

    fn read(fields: &mut Fields) -> Result<Self, HttpError> {
        let (name, namespace) = (fields.text("name")?, fields.text("namespace")?);
        let metadata = fields.texts("metadata")?.map(|metadata| metadata.into_iter().collect());
        Ok(Self { name, namespace, metadata })
    }
}

/// What a webhook asks for, once it may have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) canary: CanaryId,
    /// As it was sent, white space around it left out.
    pub(crate) command: String,
    pub(crate) launch: Launch,
    /// Whether the webhook is answered with the result, not before.
    pub(crate) is_blocking: bool,
    /// Whether that answer has the output.
    pub(crate) return_output: bool,
    /// Whether the log has it.
    pub(crate) log_output: bool,
}

/// What this load tester may do.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) programs: Programs,
    pub(crate) allow_shell: bool,
    pub(crate) namespaces: Option<Regex>,
}

/// Why nothing runs for a webhook.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    /// It is wrong on any load tester.
    #[error("{0}")]
    Invalid(String),
    /// It is not allowed on this one.
    #[error("{0}")]
    Forbidden(String),
    /// It may, but something is not installed.
    #[error(transparent)]
    Missing(ProgramError),
}

impl Job {
    /// The name of the program that runs, for a log: a whole command line may hold secrets.
    pub(crate) fn program(&self) -> &str {
        self.launch.program.file_name().and_then(OsStr::to_str).unwrap_or("?")
    }
}

const SUPPORTED: &str = "supported are \"cmd\" (a program of the allow-list; also when there is no type) and, with \
                         --allow-shell, \"bash\"";
const NO_SHELL: &str = "and no shell is run: quote what is meant as an argument, use one hook for each program, or \
                        start the load tester with --allow-shell";

impl Rules {
    /// What `payload` asks for.
    pub(crate) fn job(&self, payload: &Payload) -> Result<Job, Refusal> {
        let Payload { name, namespace, metadata } = payload;
        let canary = CanaryId::new(namespace, name)
            .map_err(|error| Refusal::Invalid(format!("canary {namespace:?}/{name:?} {error}")))?;
        if self.namespaces.as_ref().is_some_and(|regexp| !regexp.is_match(namespace.as_bytes())) {
            return Err(Refusal::Forbidden(format!("namespace {namespace} does not match --namespace-regexp")));
        }
        let metadata = metadata.as_ref().filter(|metadata| !metadata.is_empty()).ok_or_else(|| {
            Refusal::Invalid(
                "metadata is empty: it says what to run, such as cmd: \"hey -z 1m http://web.test/\"".into(),
            )
        })?;
        let command = metadata.get("cmd").map_or("", |command| command.trim());
        if command.is_empty() {
            return Err(Refusal::Invalid(LineError::Empty.to_string()));
        }
        let is_bash = match metadata.get("type").map(String::as_str) {
            None | Some("" | "cmd") => false,
            Some("bash") => true,
            Some(other) => {
                return Err(Refusal::Invalid(format!("metadata.type {other:?} is not run here; {SUPPORTED}")));
            }
        };
        let launch = if is_bash { self.bash(command)? } else { self.program(command)? };
        let flag = |key| flag(metadata, key);
        Ok(Job {
            canary,
            command: command.to_owned(),
            launch,
            // As with Flagger's.
            is_blocking: is_bash || flag("wait")?,
            return_output: flag("returnCmdOutput")?,
            log_output: flag("logCmdOutput")?,
        })
    }

    /// Says in the log what may run.
    pub(crate) fn log(&self) {
        let is_there = |program: &&String| self.programs.find(program).is_ok();
        let (installed, missing): (Vec<_>, Vec<_>) = self.programs.allowed().iter().partition(is_there);
        tracing::info!(?installed, ?missing, "programs that may run");
        if self.allow_shell {
            tracing::warn!("--allow-shell: anybody who can send a webhook can run any command as this user");
        }
    }

    fn bash(&self, command: &str) -> Result<Launch, Refusal> {
        if !self.allow_shell {
            return Err(Refusal::Forbidden(format!("metadata.type \"bash\" needs a shell {NO_SHELL}")));
        }
        self.shell("bash", command)
    }

    fn program(&self, command: &str) -> Result<Launch, Refusal> {
        let direct = || {
            let words = line::split(command).map_err(|error| match error {
                LineError::Shell { .. } => Refusal::Forbidden(format!("{error} {NO_SHELL}")),
                _ => Refusal::Invalid(error.to_string()),
            })?;
            let (program, args) = words.split_first().ok_or_else(|| Refusal::Invalid(LineError::Empty.to_string()))?;
            let program = self.programs.resolve(program).map_err(|error| match error {
                ProgramError::Missing(_) => Refusal::Missing(error),
                _ => Refusal::Forbidden(error.to_string()),
            })?;
            Ok(Launch { program, args: args.to_vec() })
        };
        match direct() {
            // A shell may run anything; the allow-list would only be in the way.
            Err(Refusal::Forbidden(_)) if self.allow_shell => self.shell("sh", command),
            decided => decided,
        }
    }

    fn shell(&self, shell: &str, command: &str) -> Result<Launch, Refusal> {
        if command.contains('\0') {
            return Err(Refusal::Invalid(LineError::Control('\0').to_string()));
        }
        let program = self.programs.find(shell).map_err(Refusal::Missing)?;
        Ok(Launch { program, args: vec!["-c".into(), command.into()] })
    }
}

/// What Flagger takes for yes and no.
fn flag(metadata: &BTreeMap<String, String>, key: &str) -> Result<bool, Refusal> {
    match metadata.get(key).map_or("", String::as_str) {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(Refusal::Invalid(format!("metadata.{key} {other:?} is neither \"true\" nor \"false\""))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rules(allow_shell: bool) -> Rules {
        let programs = Programs::new(vec!["true".into(), "no-such-tool".into()], "/usr/bin:/bin".into());
        Rules { programs, allow_shell, namespaces: Some(Regex::new("^prod").unwrap()) }
    }

    fn payload(body: &Value) -> Payload {
        Payload::read(&mut Fields::parse(body.to_string().as_bytes(), Payload::EXAMPLE).unwrap()).unwrap()
    }

    fn ask(rules: &Rules, metadata: Value) -> Result<Job, Refusal> {
        let mut body = json!({ "name": "web", "namespace": "prod", "phase": "Progressing", "checksum": "1", "new": 7 });
        body["metadata"] = metadata;
        rules.job(&payload(&body))
    }

    #[track_caller]
    fn refused(asked: Result<Job, Refusal>, forbidden: bool, words: &[&str]) {
        let refusal = asked.unwrap_err();
        assert_eq!(matches!(refusal, Refusal::Forbidden(_)), forbidden, "{refusal:?}");
        for word in words {
            assert!(refusal.to_string().contains(word), "{word:?} is not in {refusal}");
        }
    }

    #[test]
    fn a_command_is_run_without_a_shell() {
        for kind in [json!({}), json!({ "type": "" }), json!({ "type": "cmd" })] {
            let mut metadata = json!({ "cmd": " true -x 'a b' ", "more": "left alone" });
            metadata.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
            let job = ask(&rules(false), metadata).unwrap();
            assert!(job.launch.program.ends_with("true") && job.launch.program.is_absolute(), "{job:?}");
            assert_eq!(job.launch.args, ["-x", "a b"]);
            assert_eq!((job.canary.as_str(), job.command.as_str()), ("prod/web", "true -x 'a b'"));
            assert!(!job.is_blocking && !job.return_output && !job.log_output);
        }
        let full = json!({ "cmd": "true", "wait": "true", "returnCmdOutput": "1", "logCmdOutput": "T" });
        let job = ask(&rules(false), full).unwrap();
        assert!(job.is_blocking && job.return_output && job.log_output);
    }

    #[test]
    fn what_may_not_run_is_refused_with_its_reason() {
        let closed = rules(false);
        refused(ask(&closed, json!({ "type": "bash", "cmd": "true" })), true, &["bash", "--allow-shell"]);
        refused(ask(&closed, json!({ "cmd": "true | tee x" })), true, &["`|` at character 6", "--allow-shell"]);
        refused(ask(&closed, json!({ "cmd": "sh -c true" })), true, &["\"sh\"", "true, no-such-tool", "--allow"]);
        refused(ask(&closed, json!({ "cmd": "/bin/true" })), true, &["/bin/true", "path"]);
        refused(ask(&closed, json!({ "cmd": "A=b true" })), true, &["A=b", "variable"]);
        for kind in ["helm", "helmv3", "kubectl", "concord", "ngrinder", "CMD", "x"] {
            let asked = ask(&rules(true), json!({ "type": kind, "cmd": "true" }));
            refused(asked, false, &[kind, "\"cmd\"", "--allow-shell"]);
        }
        for metadata in [Value::Null, json!({})] {
            refused(ask(&closed, metadata), false, &["metadata is empty"]);
        }
        refused(ask(&closed, json!({ "type": "cmd" })), false, &["metadata.cmd is empty"]);
        refused(ask(&closed, json!({ "cmd": " " })), false, &["metadata.cmd is empty"]);
        refused(ask(&closed, json!({ "cmd": "true 'x" })), false, &["never closed"]);
        refused(ask(&closed, json!({ "cmd": "true", "wait": "yes" })), false, &["metadata.wait", "yes"]);
        let missing = ask(&closed, json!({ "cmd": "no-such-tool" })).unwrap_err();
        assert!(
            matches!(missing, Refusal::Missing(_)) && missing.to_string().contains("no-such-tool is not installed")
        );
    }

    #[test]
    fn a_shell_is_run_only_where_it_is_allowed_and_needed() {
        let open = rules(true);
        let bash = ask(&open, json!({ "type": "bash", "cmd": "true | true" })).unwrap();
        assert!(bash.launch.program.ends_with("bash") && bash.is_blocking);
        assert_eq!(bash.launch.args, ["-c", "true | true"]);
        for needs_shell in ["true | true", "echo x", "/bin/true", "A=b true"] {
            let job = ask(&open, json!({ "cmd": needs_shell })).unwrap();
            assert!(job.launch.program.ends_with("sh") && !job.is_blocking, "{job:?}");
        }
        assert!(ask(&open, json!({ "cmd": "true x" })).unwrap().launch.program.ends_with("true"));
        refused(ask(&open, json!({ "type": "bash", "cmd": "a\0" })), false, &["control character"]);
    }

    #[test]
    fn whose_canaries_may_ask() {
        let ask = |namespace: &str, name: &str| {
            let body = json!({ "name": name, "namespace": namespace, "metadata": { "cmd": "true" } });
            rules(false).job(&payload(&body))
        };
        assert!(ask("prod-eu", "web").is_ok());
        refused(ask("test-prod", "web"), true, &["test-prod", "--namespace-regexp"]);
        refused(ask("", "web"), false, &["empty"]);
        refused(ask("prod", "we\nb"), false, &["contains"]);
    }
}
