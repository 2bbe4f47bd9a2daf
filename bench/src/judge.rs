//! How fast the judge decides and how rarely it errs, on traffic drawn in memory. Read in this order:
//!
//! - `product`: the one place that knows what the guards are made of and how they are asked
//! - `draws`: seeded traffic
//! - `exact`: expected requests and error rates of a test that depends on counts alone, by dynamic programming
//! - `restarts`: the same with paid restarts, whose state is the whole path, by simulation
//! - `contest`: a release under the product's guards and under other tools' rules, on the same traffic
//! - `cost`: what one update takes
//! - `findings`, `tables`: all of it together, for machines and for people

pub mod draws;

pub mod product;

pub mod contest;

pub mod cost;

pub mod exact;

pub mod restarts;

pub mod findings;

pub mod tables;
