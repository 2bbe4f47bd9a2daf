//! A whole fleet and its agent in virtual time: seeded, with faults, without clock or I/O.

pub mod rivals;
