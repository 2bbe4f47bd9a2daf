//! What somebody may have meant who wrote a name that is not known, in a manifest or on the command line. The HTTP servers,
//! which do not depend on this crate, apply the same rule (`serving/src/http_error.rs`).

/// Longest part of a name that is looked at, in characters.
const MAX_CHARS: usize = 64;

/// What is known by a name that `name` may have been meant to be, the likeliest first: at most one slip (a letter more,
/// less, other or out of place) and one for each four letters.
pub fn alike<'a, T>(name: &str, known: impl IntoIterator<Item = (&'a str, T)>) -> Vec<T> {
    let written = short(name);
    let slips = |(known, thing): (&str, T)| {
        let slips = strsim::damerau_levenshtein(&written, &short(known));
        (slips <= 1 + known.len() / 4).then_some((slips, thing))
    };
    let mut near: Vec<(usize, T)> = known.into_iter().filter_map(slips).collect();
    // Stable: where two are as near, the order in which they are known decides.
    near.sort_by_key(|(slips, _)| *slips);
    near.into_iter().map(|(_, thing)| thing).collect()
}

fn short(name: &str) -> String {
    name.chars().take(MAX_CHARS).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_forgiven_by_length_and_the_nearest_comes_first() {
        let known = ["web", "checkout", "checkin", "web-api"];
        let meant = |name: &str| alike(name, known.map(|name| (name, name)));
        assert_eq!(meant("chekout"), ["checkout"]);
        assert_eq!(meant("check-out"), ["checkout"]);
        assert_eq!(meant("CHECKIN"), ["checkin", "checkout"]);
        assert_eq!(meant("ewb"), ["web"]);
        assert_eq!(meant("webapi"), ["web-api"]);
        assert!(meant("shop").is_empty() && meant("").is_empty());
        assert!(meant(&"x".repeat(100_000)).is_empty());
        assert_eq!(alike("wex", [("web", 1), ("wed", 2), ("web", 3)]), [1, 2, 3]);
    }
}
