//! A document taken apart field by field. Knows what a value can look like, not what a field means.

// `30s`, `1m30s`.
pub(crate) mod duration;

// What an unknown name may have been meant to be.
mod alike;

// What was found while reading one document.
mod log;

// Values and maps; a map remembers which of its fields were asked for.
mod item;

// What a value must look like, as data.
pub(crate) mod shape;

pub use alike::alike;
#[cfg(test)]
pub(crate) use item::KNOWN;
pub(crate) use item::{Item, MAX_ITEMS, Map, did_you_mean};
pub(crate) use log::Log;
