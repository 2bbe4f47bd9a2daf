//! The agent's engine and its canary are read from the top: a method calls only those of its parent's file and of the files
//! that the parent declares above its own. `tests/tests/rooms.rs` checks what files import; methods of one type need no
//! import, so a circle among them is seen here alone.

#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "this test reads the core's own source; the core itself may not")]

use std::fs;
use std::path::PathBuf;

const SPLIT_TYPES: [&str; 2] = ["controller/engine", "controller/canary"];

#[test]
fn a_method_calls_only_those_above_it() {
    for parent in SPLIT_TYPES {
        let order = children(&format!("{parent}.rs"));
        assert!(order.len() > 1, "{parent}.rs was not understood");
        for (place, name) in order.iter().enumerate() {
            let code = code(&format!("{parent}/{name}.rs"));
            for later in order.iter().skip(place + 1) {
                let below = methods(&format!("{parent}/{later}.rs"));
                let is_called =
                    |method: &&String| ["self.", "Self::"].iter().any(|how| code.contains(&format!("{how}{method}(")));
                let called = below.iter().find(is_called);
                assert!(called.is_none(), "{parent}/{name}.rs calls {}, which stands in {later}.rs", called.unwrap());
            }
        }
    }
}

/// The modules that a file declares, in order.
fn children(file: &str) -> Vec<String> {
    let code = code(file);
    let names = code.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    names.map(ToOwned::to_owned).collect()
}

/// Methods that other files may call.
fn methods(file: &str) -> Vec<String> {
    let code = code(file);
    let is_method = |line: &&str| line.starts_with("    pub");
    let name = |line: &str| Some(line.split_once(" fn ")?.1.split(['(', '<']).next()?.to_owned());
    code.lines().filter(is_method).filter_map(name).collect()
}

/// A file's code without comments.
fn code(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| line.split("//").next().unwrap_or(line).to_owned() + "\n").collect()
}
