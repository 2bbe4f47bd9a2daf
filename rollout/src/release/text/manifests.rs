//! The sentences about manifests that go, return, or name other roles.

use super::because;
use crate::release::phase::{Note, RoleConflict};

/// What becomes of a canary whose manifest goes, returns, or names other roles.
pub(super) fn kept(note: &Note) -> String {
    match note {
        Note::ManifestRemoved { primary } => format!(
            "manifest removed: {primary} goes on serving; roles, promoted revision and history are kept until it is back, \
             or until `serin forget`"
        ),
        Note::ManifestReturned { primary } => format!("manifest is back: {primary} is the primary, as before"),
        Note::TookOver { from, primary } => {
            format!("takes the place of {from}, whose manifest was removed: {primary} is the primary, as before")
        }
        Note::RolesWait(conflict) => format!("manifest changed, and waits: {}", role_conflict(conflict)),
        Note::Forgotten { actor, reason } => {
            format!("forgotten by {actor}: requests take the proxies' default routes{}", because(reason))
        }
        _ => String::new(),
    }
}

/// Why a manifest's roles are not adopted, and what ends that.
pub fn role_conflict(conflict: &RoleConflict) -> String {
    let RoleConflict { proxy, serving, named } = conflict;
    let why = match proxy {
        Some((node, upstream)) => format!("proxy {node} sends requests to {upstream} by default"),
        None => "no proxy is connected that says what its routes serve by default".into(),
    };
    format!(
        "it makes {named} the primary, but {serving} serves, and {why}; point every default route and \
         `defaultUpstreams` at {named}, or let the manifest name {serving} as primary"
    )
}
