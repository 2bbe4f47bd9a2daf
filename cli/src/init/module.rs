//! Where the filter module lies: a path that can stand in Envoy's configuration, from wherever Envoy is started.

use std::path::Path;

/// Where the shipped configuration has it.
const SHIPPED: &str = "/etc/envoy/serin.wasm";

/// An absolute path of plain characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module(String);

impl Module {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the file is there, now and on this machine.
    pub(super) fn is_there(&self) -> bool {
        Path::new(&self.0).is_file()
    }
}

/// What was typed; a relative path is meant from here.
pub(super) fn given(text: &str) -> Result<Module, String> {
    let path = std::path::absolute(text).map_err(|error| error.to_string())?;
    of(&path).ok_or_else(|| "must be a path of UTF-8 without quotes, backslashes and control characters".into())
}

/// As it is built and packed: beside the program, or in the share folder of the same prefix; else where the shipped
/// configuration has it.
pub(super) fn default(program: Option<&Path>) -> Module {
    let folder = program.and_then(Path::parent);
    let near = folder.into_iter().flat_map(|folder| {
        let prefix = folder.parent().unwrap_or(folder);
        [folder.join("serin.wasm"), prefix.join("share/serin/serin.wasm"), prefix.join("lib/serin/serin.wasm")]
    });
    let found = near.filter(|path| path.is_file()).find_map(|path| of(&path));
    found.unwrap_or_else(|| Module(SHIPPED.into()))
}

fn of(path: &Path) -> Option<Module> {
    let text = path.to_str()?;
    let is_plain = !text.chars().any(|c| c.is_control() || matches!(c, '"' | '\'' | '\\'));
    is_plain.then(|| Module(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_made_absolute_and_must_be_plain() {
        assert_eq!(given("/opt/a b/serin.wasm").unwrap().as_str(), "/opt/a b/serin.wasm");
        let here = std::env::current_dir().unwrap();
        assert_eq!(given("x/serin.wasm").unwrap().as_str(), here.join("x/serin.wasm").to_str().unwrap());
        for bad in ["", "a\"b", "a'b", "a\\b", "a\nb"] {
            assert!(given(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_module_is_looked_for_near_the_program() {
        let folder = tempfile::TempDir::new().unwrap();
        let (bin, share) = (folder.path().join("bin"), folder.path().join("share/serin"));
        for made in [&bin, &share] {
            std::fs::create_dir_all(made).unwrap();
        }
        let program = bin.join("serin");
        assert_eq!(default(Some(&program)).as_str(), SHIPPED);
        assert_eq!(default(None).as_str(), SHIPPED);
        for near in [share.join("serin.wasm"), bin.join("serin.wasm")] {
            std::fs::write(&near, "").unwrap();
            let module = default(Some(&program));
            assert_eq!((Path::new(module.as_str()), module.is_there()), (near.as_path(), true));
        }
    }
}
