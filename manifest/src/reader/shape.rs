//! What a value must look like, as data: fields that are only validated are checked by it, and JSON Schema is made of it.

use crate::reader::{Item, Log, Map};

/// What a value must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// Any text.
    Text,
    /// A text that is not empty.
    Named,
    /// Part of a canary's id.
    Name,
    /// The name of one of several versions.
    VersionName,
    /// An upstream's name.
    Upstream,
    /// A path that begins with /.
    Path,
    /// A text of a closed list.
    Word(&'static [&'static str]),
    /// An address with http:// or https://.
    Url,
    /// A header's or cookie's name.
    Token,
    /// `30s`, `1m30s`.
    Span,
    /// true or false.
    Flag,
    /// true alone.
    True,
    /// Any number.
    Number,
    /// A number from 0 to 100 with at most four decimals.
    Percent,
    /// A whole number, both ends included.
    Whole(i64, i64),
    /// A text or a whole number, as of ports.
    PortOrName,
    /// Anything; not read here.
    Any,
    /// A list of at most so many.
    List(&'static Self, usize),
    /// A map whose keys are the user's own.
    Keyed(&'static Self),
    /// A map of known fields.
    Fields(&'static [Field], Need),
    /// One of several; for schemas alone.
    Either(&'static [Self]),
}

/// Which fields of a map must be there, beside the required ones.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    /// None.
    Nothing,
    /// One of these and no second.
    ExactlyOne(&'static [&'static str]),
    /// One of these or more.
    AtLeastOne(&'static [&'static str]),
}

/// One field of a map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// Its key.
    pub(crate) name: &'static str,
    /// Its value.
    pub(crate) shape: Shape,
    /// Whether it must be there.
    pub(crate) is_required: bool,
    /// What it means, with its default; empty where the name says it.
    pub(crate) about: &'static str,
}

/// A field that may be there.
pub(crate) const fn field(name: &'static str, shape: Shape, about: &'static str) -> Field {
    Field { name, shape, is_required: false, about }
}

/// A field that must be there.
pub(crate) const fn required(name: &'static str, shape: Shape, about: &'static str) -> Field {
    Field { name, shape, is_required: true, about }
}

/// Checks a value that has no meaning here; what is wrong is in the log.
pub(crate) fn check(item: &Item<'_>, shape: Shape, log: &mut Log) {
    match shape {
        Shape::Text
        | Shape::Named
        | Shape::Name
        | Shape::VersionName
        | Shape::Upstream
        | Shape::Path
        | Shape::Token
        | Shape::Url => {
            drop(item.text(log));
        }
        Shape::Word(words) => drop(item.one_of(log, words)),
        Shape::Span => drop(item.span(log)),
        Shape::Flag | Shape::True => drop(item.boolean(log)),
        Shape::Number => drop(item.number(log)),
        Shape::Percent => {
            if item.number(log).is_some_and(|value| !(0.0..=100.0).contains(&value)) {
                item.refuse(log, "must be from 0 to 100 percent");
            }
        }
        Shape::Whole(least, most) => drop(item.whole(log, least, most)),
        Shape::PortOrName if item.is_text() => drop(item.text(log)),
        Shape::PortOrName => drop(item.whole(log, 1, 65_535)),
        Shape::List(of, most) => {
            let items = item.list(log);
            if items.len() > most {
                item.refuse(log, format!("has {} items; at most {most} are allowed", items.len()));
            }
            items.iter().for_each(|item| check(item, *of, log));
        }
        Shape::Keyed(of) => {
            if let Some(map) = item.map(log) {
                map.rest(log).iter().for_each(|(_, item)| check(item, *of, log));
            }
        }
        Shape::Fields(fields, need) => check_fields(item, fields, need, log),
        Shape::Any | Shape::Either(_) => {}
    }
}

fn check_fields(item: &Item<'_>, fields: &'static [Field], need: Need, log: &mut Log) {
    let Some(mut map) = item.map(log) else { return };
    let mut there = Vec::new();
    for Field { name, shape, is_required, .. } in fields {
        let found = if *is_required { map.need(name, log) } else { map.take(name, log) };
        if let Some(found) = found {
            there.push(*name);
            check(&found, *shape, log);
        }
    }
    map.finish(log, &[]);
    let (names, is_right): (_, fn(usize) -> bool) = match need {
        Need::Nothing => return,
        Need::ExactlyOne(names) => (names, |count| count == 1),
        Need::AtLeastOne(names) => (names, |count| count > 0),
    };
    if !is_right(names.iter().filter(|name| there.contains(name)).count()) {
        let amount = if matches!(need, Need::ExactlyOne(_)) { "exactly one" } else { "one" };
        item.refuse(log, format!("must have {amount} of {}", names.join(", ")));
    }
}

/// Fields that are validated and otherwise only need a warning, one for each group that is present.
pub(crate) fn warn_groups(map: &mut Map<'_>, groups: &[(&'static [Field], &str)], log: &mut Log) {
    for (fields, reason) in groups {
        let there: Vec<_> = fields.iter().filter_map(|field| Some((field, map.take(field.name, log)?))).collect();
        there.iter().for_each(|(field, item)| check(item, field.shape, log));
        let Some(((_, first), others)) = there.split_first() else { continue };
        let others: Vec<_> = others.iter().map(|(field, _)| field.name).collect();
        let also = if others.is_empty() { String::new() } else { format!("(also {}) ", others.join(", ")) };
        first.warn(log, format!("{also}{reason}"));
    }
}
