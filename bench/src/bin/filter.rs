//! Placeholder: CPU per request of the filter against the plain route and the native ways to split traffic.
fn main() {}
