//! `serin init`: a folder with which a user's own service runs behind Envoy, made from the files that are shipped, so
//! that the way from a demo to one's own service is a command and not an afternoon.

mod edits;

mod files;

mod module;

mod name;

mod address;

mod options;

mod service;

mod canary;

mod envoy;

mod page;

mod script;

use std::path::PathBuf;

use crate::args::variable;
use crate::failure::{self, Failure};
use crate::validate::Set;
use crate::{output, text};

use files::File;
use options::Form;
pub(crate) use options::{EXAMPLES, InitArgs};
use service::Service;

/// `serin init`; the exit code.
pub(crate) fn run(args: &InitArgs) -> Result<u8, Failure> {
    // Not known where /proc is not there; then the script looks on PATH alone.
    let program = std::env::current_exe().ok();
    let service = Service::new(args, program.as_deref())?;
    let folder = args.dir.clone().unwrap_or_else(|| PathBuf::from(service.name.as_str()));
    let files = render(&service)?;
    let written = files::write(&folder, &files, args.force)?;
    if !service.module.is_there() {
        let module = service.module.as_str();
        output::remark(&text::clean(&format!(
            "note: {module} is not there yet: put serin.wasm there, or give --module"
        )));
    }
    let page = match args.output {
        Form::Text => page::text(&service, &folder, &written, variable("SERIN_AGENT").as_deref()),
        Form::Json => page::json(&service, &folder, &written)?,
    };
    output::print(&page)?;
    Ok(failure::OK)
}

/// The files, of which the Canary has passed the agent's own door.
fn render(service: &Service) -> Result<Vec<File>, Failure> {
    let file = |place: &str, text, is_program| File { place: place.into(), text, is_program };
    let canary = file(&format!("canaries/{}.yaml", service.name), canary::render(service)?, false);
    check(&canary)?;
    let envoy = file("envoy.yaml", envoy::render(service)?, false);
    Ok(vec![envoy, canary, file("start.sh", script::render(service)?, true)])
}

/// Names that are right one by one may be too much together: 65 hosts.
fn check(canary: &File) -> Result<(), Failure> {
    let set = Set { folder: None, files: vec![(canary.place.clone(), canary.text.clone())] };
    let report = manifest::report(&set.read(), true);
    if (report.accepted, report.warned, report.refused, report.skipped) == (1, 0, 0, 0) {
        return Ok(());
    }
    let why: Vec<String> = report.lines.iter().map(|line| text::clean(line)).collect();
    Err(Failure::Usage(format!("nothing was written, for the Canary would not be right:\n  {}", why.join("\n  "))))
}

#[cfg(test)]
mod tests {
    use super::service::fixture::service;
    use super::*;

    #[test]
    fn the_agent_accepts_the_canary_without_a_word() {
        for (name, more) in [
            ("shop", &["--host", "shop.example.com"][..]),
            ("shop", &[]),
            ("123", &["-n", "true", "--host", "2001:db8::1", "--host", "*.x"]),
            (&"a".repeat(63), &["-n", &"b".repeat(63)]),
        ] {
            let files = render(&service(name, more)).map_err(|failure| failure.to_string());
            assert_eq!(files.map(|files| files.len()), Ok(3), "{name}");
        }
    }

    #[test]
    fn what_the_agent_would_refuse_is_not_written() {
        let hosts: Vec<String> = (0..100).flat_map(|n| ["--host".to_owned(), format!("h{n}.test")]).collect();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let Err(Failure::Usage(said)) = render(&service("shop", &hosts)) else { panic!("accepted") };
        assert!(said.contains("nothing was written") && said.contains("spec.service.hosts"), "{said}");
    }
}
