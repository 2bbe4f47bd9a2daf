//! The shipped Canary manifest with the changes that a test needs: exact replacements, as for the Envoy configuration.

use std::path::PathBuf;

use anyhow::Result;

use crate::case::Case;
use crate::edit::{remove_between, replace_once};

/// The manifest that users copy.
pub const WEB: &str = include_str!("../../envoy-config/standalone/web.yaml");

/// A manifest in the making.
#[derive(Clone, Debug)]
pub struct Manifest(String);

impl Manifest {
    /// The shipped one with checks at each second, the shortest allowed, and the given weights in percent. Its guards are
    /// off, so that a fault stays long enough to be looked at; see [`Manifest::guarded`].
    ///
    /// # Errors
    /// Here and in every method: when the shipped file no longer has the text to replace.
    pub fn quick(weights: &str) -> Result<Self> {
        let checked = "    advance: interval\n    interval: 1s\n    threshold: 3\n";
        let mut manifest = Self::certified(weights)?
            .edit("    advance: certificate\n", checked)?
            .edit("    # guards: abort\n", "    guards: off\n")?;
        for metric in ["request-success-rate", "request-duration"] {
            let name = format!("      - name: {metric}\n");
            manifest = manifest.edit(&name, &format!("{name}        interval: 1s\n"))?;
        }
        Ok(manifest)
    }

    /// The shipped one, which advances on certificate, with the given weights in percent, for versions that are warm.
    pub fn certified(weights: &str) -> Result<Self> {
        Self(WEB.into())
            .edit("[1, 5, 10, 25, 50]", &format!("[{weights}]"))?
            .edit("    # warmUp: { time: 10s }\n", "    warmUp: off\n")
    }

    /// With the guards as they are shipped.
    pub fn guarded(self) -> Result<Self> {
        self.edit("    guards: off\n", "    # guards: abort\n")
    }

    /// One weight in percent, held for as long as any test takes.
    pub fn steady(weight: &str) -> Result<Self> {
        Self::quick(weight)?.edit("    interval: 1s\n    threshold", "    interval: 1h\n    threshold")
    }

    /// The number of the failed check that rolls back.
    pub fn threshold(self, count: u32) -> Result<Self> {
        self.edit("    threshold: 3\n", &format!("    threshold: {count}\n"))
    }

    /// Calls `url` to promote.
    pub fn hook(self, url: &str) -> Result<Self> {
        let hook = format!("    hook: {{ url: \"{url}\", timeout: 30s }}");
        self.edit("    # hook: { url: \"http://127.0.0.1:8090/promote\", timeout: 30s }", &hook)
    }

    /// Promotes by exchanging the roles.
    pub fn swap(self) -> Result<Self> {
        self.edit("mode: copy", "mode: swap")
    }

    /// Stickiness, as flow YAML: `{ header: x-user }`.
    pub fn sticky(self, key: &str) -> Result<Self> {
        self.edit("  # sticky: { cookie: session }", &format!("  sticky: {key}"))
    }

    /// Match rules, as flow YAML: `[{ headers: { x-canary: { exact: always } } }]`.
    pub fn matching(self, rules: &str) -> Result<Self> {
        let without = remove_between(&self.0, "    # match:\n", "    metrics:")?;
        Self(without).edit("    metrics:\n", &format!("    match: {rules}\n    metrics:\n"))
    }

    /// Webhooks, as flow YAML: `[{ name: owner, type: confirm-promotion, gate: true }]`.
    pub fn webhooks(self, hooks: &str) -> Result<Self> {
        self.edit("    metrics:\n", &format!("    webhooks: {hooks}\n    metrics:\n"))
    }

    /// Another strategy in place of the weights: `iterations: 3`.
    pub fn strategy(self, weights: &str, strategy: &str) -> Result<Self> {
        self.edit(&format!("stepWeights: [{weights}]"), strategy)
    }

    /// Any other change.
    pub fn edit(self, from: &str, to: &str) -> Result<Self> {
        replace_once(&self.0, from, to).map(Self)
    }

    /// As it stands.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Writes it for an agent; returns the folder.
    pub fn write(&self, case: &Case) -> Result<PathBuf> {
        case.file("canaries/web.yaml", &self.0)?;
        Ok(case.dir().join("canaries"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_finds_its_place_in_the_shipped_file() {
        let manifest = Manifest::steady("30").unwrap().threshold(9).unwrap().hook("http://h").unwrap();
        let manifest = manifest.sticky("{ header: u }").unwrap().matching("[{ path: { exact: /x } }]").unwrap();
        for part in ["interval: 1h\n", "[30]", "threshold: 9", "hook: { url: \"http://h\"", "sticky: { header: u }"] {
            assert_eq!(manifest.0.matches(part).count(), 1, "{part} in {}", manifest.0);
        }
        assert!(Manifest::quick("1, 2").unwrap().swap().unwrap().0.contains("mode: swap"));
    }
}
