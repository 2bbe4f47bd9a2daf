//! Forms that many fields have.

use crate::reader::shape::{Field, Need, Shape};

/// Most items of a list.
pub(super) const MOST: usize = 256;

/// A map of which no field is required.
pub(super) const fn fields(fields: &'static [Field]) -> Shape {
    Shape::Fields(fields, Need::Nothing)
}
