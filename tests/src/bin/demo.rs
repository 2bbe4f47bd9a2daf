//! Placeholder: releases promoted and cut on a real Envoy, as a readable time line.
fn main() {}
