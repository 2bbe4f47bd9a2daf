//! docs/metric-servers.md says of each kind what stands above the code.

use super::usual::ALL;
use crate::providers::name;

const PAGE: &str = include_str!("../../../../docs/metric-servers.md");
const CODE: &str = include_str!("../../providers.rs");

#[test]
fn the_page_has_a_row_for_each_kind_as_the_code_has_it() {
    let rows = CODE.lines().filter_map(|line| line.strip_prefix("//! ")).filter(|line| line.starts_with("| `"));
    let rows: Vec<&str> = rows.collect();
    for kind in ALL {
        let row = rows.iter().find(|row| row.starts_with(&format!("| `{}` |", name(kind))));
        assert!(row.is_some_and(|row| PAGE.lines().any(|line| line == *row)), "{kind:?}: {row:?}");
    }
    let written = PAGE.lines().filter(|line| line.starts_with("| `") && !line.starts_with("| `type`"));
    assert_eq!((written.count(), rows.len()), (ALL.len(), ALL.len()));
}
