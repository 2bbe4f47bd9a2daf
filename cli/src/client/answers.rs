//! What the API answers, as this program reads it.

use rollout::view::status::CanaryStatus;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;
use crate::text;

/// An answer's JSON, not yet believed.
#[derive(Debug)]
pub(crate) struct Body {
    url: String,
    value: Value,
}

/// What a request about a release came to.
#[derive(Debug, Deserialize)]
pub(crate) struct Done {
    /// The release's number.
    pub(crate) release: u64,
    /// The phase after it.
    pub(crate) phase: String,
    /// The plan that a release follows which this began.
    pub(crate) manifest: Option<String>,
    /// Why the agent's journal does not have it yet, of an abort alone.
    pub(crate) warning: Option<String>,
}

/// A list, as the API wraps it.
#[derive(Debug, Deserialize)]
pub(crate) struct Items<T> {
    /// Its members.
    pub(crate) items: Vec<T>,
}

/// The list of canaries, with what kept others out of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Listing {
    /// The canaries.
    pub(crate) items: Vec<CanaryStatus>,
    /// What is wrong with the manifests that the agent reads, a line each.
    #[serde(default)]
    pub(crate) problems: Vec<String>,
}

/// A release of which the agent has a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recorded {
    /// Its number.
    pub(crate) release: u64,
    /// What it brings.
    pub(crate) revision: String,
    /// Unix time, milliseconds.
    pub(crate) began_at_ms: u64,
    /// The same; none while it runs.
    pub(crate) ended_at_ms: Option<u64>,
    /// In one word; none while it runs.
    pub(crate) outcome: Option<String>,
    /// Why.
    pub(crate) message: Option<String>,
    /// Lines of the record.
    pub(crate) lines: u64,
    /// Its size on the agent's disk.
    pub(crate) bytes: u64,
    /// Why the record ends before the release, if it does.
    pub(crate) truncated: Option<String>,
}

impl Body {
    /// What the agent at this address has said.
    pub(super) const fn new(url: String, value: Value) -> Self {
        Self { url, value }
    }

    /// The answer as it is: for programs.
    ///
    /// # Errors
    /// When it is not what the API promises.
    pub(crate) fn exact<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        decode(&self.url, self.value.clone())
    }

    /// The answer with every text made fit for a terminal: for people.
    ///
    /// # Errors
    /// As [`Body::exact`].
    pub(crate) fn shown<T: DeserializeOwned>(self) -> Result<T, Failure> {
        decode(&self.url, text::clean_value(self.value))
    }
}

fn decode<T: DeserializeOwned>(url: &str, value: Value) -> Result<T, Failure> {
    serde_json::from_value(value)
        .map_err(|error| Failure::Nonsense { url: url.to_owned(), why: text::quoted(&error.to_string()) })
}
