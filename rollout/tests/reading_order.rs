//! The state machine and the agent's engine are read from the top: each of their files uses only its parent and the files
//! that the parent declares above it. A compiler does not mind a circle between siblings; a reader has no place to start.

#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "this test reads the core's own source; the core itself may not")]

use std::fs;
use std::path::PathBuf;

const ROOMS: [&str; 4] = ["release/machine", "release/phase", "controller/engine", "controller/canary"];

#[test]
fn a_file_uses_only_those_above_it() {
    for room in ROOMS {
        let order = children(&format!("{room}.rs"));
        assert!(order.len() > 1, "{room}.rs was not understood");
        for (place, name) in order.iter().enumerate() {
            let code = code(&format!("{room}/{name}.rs"));
            for later in order.iter().skip(place + 1) {
                let below = methods(&format!("{room}/{later}.rs"));
                let used = below.iter().find(|method| code.contains(&format!("self.{method}(")));
                assert!(used.is_none(), "{room}/{name}.rs calls {}, which stands in {later}.rs", used.unwrap());
                assert!(!names(&code, later), "{room}/{name}.rs uses {later}.rs, which {room}.rs declares after it");
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

/// Methods that other files of the room may call.
fn methods(file: &str) -> Vec<String> {
    let code = code(file);
    let of = |line: &str| Some(line.trim().strip_prefix("pub(super) fn ")?.split(['(', '<']).next()?.to_owned());
    code.lines().filter(|line| line.starts_with(' ')).filter_map(of).collect()
}

/// Whether code names a sibling: `super::sibling` or `sibling::item`, and not a namesake elsewhere.
fn names(code: &str, sibling: &str) -> bool {
    let is_sibling = |at: usize| {
        let before = &code[..at];
        let is_word = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        is_word && (!before.ends_with("::") || before.ends_with("super::"))
    };
    code.match_indices(&format!("{sibling}::")).any(|(at, _)| is_sibling(at))
}

/// A file's code without comments and without its own tests.
fn code(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    lines.map(|line| line.split("//").next().unwrap_or(line).to_owned() + "\n").collect()
}
