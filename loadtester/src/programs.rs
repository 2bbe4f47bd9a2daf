//! Which programs may run, and where they lie: by name only, looked up in PATH.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use thiserror::Error;

/// The allow-list and PATH.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    allowed: Vec<String>,
    path: OsString,
}

/// A program that is not run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ProgramError {
    /// Not allowed.
    #[error("{program:?} is not one of the programs that this load tester runs ({allowed}); --allow adds it")]
    NotAllowed {
        /// Which.
        program: String,
        /// What is, for the message.
        allowed: String,
    },
    /// The list has names, so that a file of that name elsewhere is never run.
    #[error("{0:?} is a path: write the program's name only, it is looked up in the load tester's PATH")]
    Path(String),
    /// A shell would set it for the program.
    #[error("{0:?} sets a variable, for which a shell would be needed: begin with the program's name")]
    Variable(String),
    /// Allowed, but not there.
    #[error("{0} is not installed: it is in no folder of the load tester's PATH")]
    Missing(String),
}

impl Programs {
    pub(crate) fn new(allowed: Vec<String>, path: OsString) -> Self {
        Self { allowed, path }
    }

    pub(crate) fn allowed(&self) -> &[String] {
        &self.allowed
    }

    /// The file of an allowed program.
    pub(crate) fn resolve(&self, program: &str) -> Result<PathBuf, ProgramError> {
        if self.allowed.iter().any(|allowed| allowed == program) {
            return self.find(program);
        }
        let program = program.to_owned();
        let before_equals = program.split_once('=').map(|(name, _)| name);
        Err(match before_equals {
            Some(name) if is_variable(name) => ProgramError::Variable(program),
            _ if program.contains('/') => ProgramError::Path(program),
            _ => ProgramError::NotAllowed { program, allowed: self.allowed.join(", ") },
        })
    }

    /// The file of a program, allowed or not.
    pub(crate) fn find(&self, program: &str) -> Result<PathBuf, ProgramError> {
        // A relative folder would make what runs depend on where the load tester was started.
        let folders = std::env::split_paths(&self.path).filter(|folder| folder.is_absolute());
        let mut files = folders.map(|folder| folder.join(program));
        let found = files.find(|file| is_executable(file.as_os_str()));
        found.ok_or_else(|| ProgramError::Missing(program.into()))
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_executable(file: &OsStr) -> bool {
    std::fs::metadata(file).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_on_the_list_are_looked_up_and_only_in_absolute_folders() {
        let folder = tempfile::tempdir().unwrap();
        for (name, mode) in [("hey", 0o755), ("wrk", 0o644), ("sh", 0o755)] {
            let file = folder.path().join(name);
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        }
        std::fs::create_dir(folder.path().join("oha")).unwrap();
        let path = std::env::join_paths([".".as_ref(), "".as_ref(), folder.path()]).unwrap();
        let programs = Programs::new(["hey", "wrk", "oha"].map(str::to_owned).into(), path);
        assert_eq!(programs.resolve("hey"), Ok(folder.path().join("hey")));
        let refused = |program: &str| programs.resolve(program).unwrap_err();
        // Not executable, a folder.
        for absent in ["wrk", "oha"] {
            assert!(matches!(refused(absent), ProgramError::Missing(_)), "{absent}");
        }
        let said = refused("sh").to_string();
        assert!(said.contains("hey, wrk, oha") && said.contains("--allow"), "{said}");
        for path in ["/bin/hey", "./hey", "../hey", "bin/hey"] {
            assert!(matches!(refused(path), ProgramError::Path(_)), "{path}");
        }
        assert!(matches!(refused("LD_PRELOAD=/x/y.so"), ProgramError::Variable(_)));
        for odd in ["", "HEY", "hey ", "="] {
            assert!(matches!(refused(odd), ProgramError::NotAllowed { .. }), "{odd}");
        }
    }
}
