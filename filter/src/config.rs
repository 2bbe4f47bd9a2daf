//! The plugin's JSON, parsed into settings; invalid JSON never becomes a [`Config`].

use std::collections::{BTreeMap, BTreeSet};

use rollout::base::names::{CanaryId, Upstream};
use rollout::base::time::Millis;
use rollout::routing::destination::MAX_CLUSTER_BYTES;
use rollout::worker::Settings;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::canaries::{RawCanary, fixed_entries};
use crate::config_error::{ConfigError, bounded};

/// Longest configuration read, in bytes.
pub(crate) const MAX_CONFIG_BYTES: usize = 1 << 20;
/// Longest lease, in seconds: a day. A canary that needs no lease belongs in the filter's own configuration.
const MAX_LEASE_SECONDS: f64 = 86_400.0;
/// Most strata counted apart; each holds at most some 25 KiB.
const MAX_STRATA: u64 = 1_024;
/// Longest token or file name, in bytes.
const MAX_TEXT_BYTES: usize = 4_096;
/// Most clusters that both versions share on purpose.
const MAX_SHARED_CLUSTERS: usize = 256;
const DEFAULT_HEADER: &str = "x-serin-upstream";
const DEFAULT_MIRROR_HEADER: &str = "x-serin-mirror";

/// What the operator configured. Not printable: it may hold a token.
pub(crate) struct Config {
    /// Where the agent is, if there is one.
    pub(crate) agent: Option<Agent>,
    /// What the engine needs.
    pub(crate) settings: Settings,
}

/// What one plugin is for.
pub(crate) enum Plugin {
    /// Routes and measures a listener's requests.
    Router(Box<Config>),
    /// Stands in the cluster of this upstream and measures the copies that it gets.
    Copies(Upstream),
}

/// How the agent is reached.
#[derive(PartialEq, Eq)]
pub(crate) enum Agent {
    /// By the proxy's own gRPC client; needs no cluster.
    Address {
        /// `host:port`.
        address: String,
        /// Without it the connection is in clear.
        tls: Option<Tls>,
        /// Sent as `authorization: Bearer`.
        token: Option<String>,
    },
    /// Through one of the proxy's clusters, which then owns TLS and identity.
    Cluster {
        /// The cluster's name.
        cluster: String,
        /// Sent as `authorization: Bearer`.
        token: Option<String>,
    },
}

impl Agent {
    /// The bearer token, if one is to be shown.
    pub(crate) fn token(&self) -> Option<&str> {
        match self {
            Self::Address { token, .. } | Self::Cluster { token, .. } => token.as_deref(),
        }
    }

    /// The agent's place, for people.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Address { address, .. } => address,
            Self::Cluster { cluster, .. } => cluster,
        }
    }
}

/// Files on the proxy's disk, in PEM. They must exist: Envoy 1.40 aborts when its gRPC client is to read one that does not,
/// and a filter can neither see files nor catch that. Where they may be missing, reach the agent through a cluster.
#[derive(Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Tls {
    /// The authorities that may have signed the agent's certificate: a PEM file that the proxy reads; without it, the
    /// system's roots.
    pub(crate) ca_file: Option<String>,
    /// The same as PEM text, which no missing file can break.
    pub(crate) ca: Option<String>,
    /// Our certificate, together with `key_file`.
    pub(crate) cert_file: Option<String>,
    /// Our key.
    pub(crate) key_file: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawCopies {
    copies_to: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawConfig {
    agent: Option<Value>,
    decision_header: String,
    mirror_header: String,
    lease_seconds: f64,
    default_upstreams: BTreeMap<String, String>,
    shared_clusters: Vec<String>,
    canaries: Vec<RawCanary>,
    limits: RawLimits,
}

impl Default for RawConfig {
    fn default() -> Self {
        Self {
            agent: None,
            decision_header: DEFAULT_HEADER.into(),
            mirror_header: DEFAULT_MIRROR_HEADER.into(),
            lease_seconds: 60.0,
            default_upstreams: BTreeMap::new(),
            shared_clusters: Vec::new(),
            canaries: Vec::new(),
            limits: RawLimits::default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawLimits {
    strata: u64,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self { strata: 64 }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawAgent {
    address: Option<String>,
    cluster: Option<String>,
    tls: Option<Tls>,
    token: Option<String>,
}

impl Plugin {
    /// Reads the plugin's configuration; an empty one means all defaults.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let is_copies = serde_json::from_slice(json).is_ok_and(|value: Value| value.get("copiesTo").is_some());
        if !is_copies {
            return Config::parse(json).map(|config| Self::Router(Box::new(config)));
        }
        let RawCopies { copies_to } = from_json(json)?;
        Upstream::parse(&copies_to)
            .map(Self::Copies)
            .map_err(|error| ConfigError::new("copiesTo", format!("{copies_to:?} {error}")))
    }
}

impl Config {
    /// The settings while no valid configuration is known: every request goes to the primary.
    pub(crate) fn safe() -> Self {
        let settings = Settings {
            has_agent: false,
            decision_header: DEFAULT_HEADER.into(),
            mirror_header: DEFAULT_MIRROR_HEADER.into(),
            lease: Millis::from_secs(60),
            default_upstreams: BTreeMap::new(),
            fixed: Vec::new(),
            shared_clusters: BTreeSet::new(),
            max_strata: 64,
        };
        Self { agent: None, settings }
    }

    fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let raw = if json.trim_ascii().is_empty() { RawConfig::default() } else { from_json(json)? };
        let agent = raw.agent.map(parse_agent).transpose()?;
        let lease_ms = bounded("leaseSeconds", raw.lease_seconds, 1.0, MAX_LEASE_SECONDS)? * 1000.0;
        if !(1..=MAX_STRATA).contains(&raw.limits.strata) {
            let rule = format!("{} is outside 1 to {MAX_STRATA}", raw.limits.strata);
            return Err(ConfigError::new("limits.strata", rule));
        }
        let settings = Settings {
            has_agent: agent.is_some(),
            decision_header: parse_header("decisionHeader", raw.decision_header)?,
            mirror_header: parse_header("mirrorHeader", raw.mirror_header)?,
            lease: Millis(lease_ms as u64),
            default_upstreams: parse_defaults(raw.default_upstreams)?,
            shared_clusters: parse_shared(raw.shared_clusters)?,
            fixed: fixed_entries(raw.canaries)?,
            max_strata: usize::try_from(raw.limits.strata).unwrap_or(64),
        };
        if settings.mirror_header == settings.decision_header {
            return Err(ConfigError::new(
                "mirrorHeader",
                "is also decisionHeader; the two carry different values, so they need different names",
            ));
        }
        Ok(Self { agent, settings })
    }
}

fn from_json<T: DeserializeOwned>(json: &[u8]) -> Result<T, ConfigError> {
    if json.len() >= MAX_CONFIG_BYTES {
        let rule = format!("is longer than {MAX_CONFIG_BYTES} bytes");
        return Err(ConfigError::new("configuration", rule));
    }
    if !json.trim_ascii_start().starts_with(b"{") {
        // Serde would take an array for the fields in order.
        return Err(ConfigError::new("configuration", "is not a JSON object"));
    }
    serde_json::from_slice(json).map_err(|error| ConfigError::new("configuration", error.to_string()))
}

fn parse_agent(value: Value) -> Result<Agent, ConfigError> {
    if let Value::String(address) = value {
        return Ok(Agent::Address { address: parse_address("agent", address)?, tls: None, token: None });
    }
    let raw: RawAgent = from_value("agent", value)?;
    let token = raw.token.map(|token| parse_text("agent.token", token)).transpose()?;
    match (raw.address, raw.cluster, raw.tls) {
        (Some(address), None, tls) => Ok(Agent::Address {
            address: parse_address("agent.address", address)?,
            tls: tls.map(parse_tls).transpose()?,
            token,
        }),
        (None, Some(cluster), None) => Ok(Agent::Cluster { cluster: parse_text("agent.cluster", cluster)?, token }),
        (None, Some(_), Some(_)) => Err(ConfigError::new(
            "agent.tls",
            "is set beside a cluster; the cluster configures its own TLS, so leave it out",
        )),
        _ => Err(ConfigError::new("agent", "needs exactly one of address and cluster")),
    }
}

fn from_value<T: DeserializeOwned>(field: &str, value: Value) -> Result<T, ConfigError> {
    serde_json::from_value(value).map_err(|error| ConfigError::new(field, error.to_string()))
}

fn parse_address(field: &str, address: String) -> Result<String, ConfigError> {
    let fits = address.rsplit_once(':').is_some_and(|(host, port)| {
        let is_host = |b: u8| b.is_ascii_alphanumeric() || b"._-:[]".contains(&b);
        let is_bracketed = host.starts_with('[') && host.ends_with(']');
        (1..=255).contains(&host.len())
            && host.bytes().all(is_host)
            && (is_bracketed || !host.contains(':'))
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if !fits {
        let rule = format!("{address:?} is not of the form host:port, as in agent.serin:7070 or [::1]:7070");
        return Err(ConfigError::new(field, rule));
    }
    Ok(address)
}

fn parse_tls(tls: Tls) -> Result<Tls, ConfigError> {
    if tls.cert_file.is_some() != tls.key_file.is_some() {
        let rule = "certFile and keyFile belong together: give both or neither";
        return Err(ConfigError::new("agent.tls", rule));
    }
    let file = |field: &str, name: Option<String>| {
        name.map(|name| parse_text(&format!("agent.tls.{field}"), name)).transpose()
    };
    if tls.ca.is_some() && tls.ca_file.is_some() {
        return Err(ConfigError::new("agent.tls", "ca and caFile are alternatives: give one"));
    }
    if tls.ca.as_ref().is_some_and(|pem| !pem.trim_start().starts_with("-----BEGIN CERTIFICATE-----")) {
        return Err(ConfigError::new("agent.tls.ca", "is not PEM text that begins with a certificate"));
    }
    Ok(Tls {
        ca: tls.ca,
        ca_file: file("caFile", tls.ca_file)?,
        cert_file: file("certFile", tls.cert_file)?,
        key_file: file("keyFile", tls.key_file)?,
    })
}

/// Does not repeat the value: it may be secret.
fn parse_text(field: &str, text: String) -> Result<String, ConfigError> {
    if text.is_empty() || text.len() > MAX_TEXT_BYTES || !text.bytes().all(|b| b.is_ascii_graphic()) {
        let rule = format!("is not 1 to {MAX_TEXT_BYTES} printable ASCII characters without spaces");
        return Err(ConfigError::new(field, rule));
    }
    Ok(text)
}

fn parse_header(field: &str, name: String) -> Result<String, ConfigError> {
    // A token of RFC 9110 in lower case, as HTTP/2 requires; a filter does not set pseudo headers.
    let is_token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !(1..=128).contains(&name.len()) || !name.bytes().all(is_token) {
        let rule = format!("{name:?} is not a valid header name: give 1 to 128 characters in lower case");
        return Err(ConfigError::new(field, rule));
    }
    Ok(name)
}

fn parse_defaults(raw: BTreeMap<String, String>) -> Result<BTreeMap<CanaryId, Upstream>, ConfigError> {
    let limit = rollout::routing::table::MAX_CANARIES;
    if raw.len() > limit {
        let rule = format!("names {} canaries; at most {limit} are allowed", raw.len());
        return Err(ConfigError::new("defaultUpstreams", rule));
    }
    let parsed = raw.into_iter().map(|(canary, upstream)| {
        let field = format!("defaultUpstreams[{canary:?}]");
        let id = CanaryId::parse(&canary).map_err(|error| ConfigError::new(&field, error.to_string()))?;
        let upstream =
            Upstream::parse(&upstream).map_err(|error| ConfigError::new(&field, format!("{upstream:?} {error}")))?;
        Ok((id, upstream))
    });
    parsed.collect()
}

/// Clusters that both versions share on purpose, by the proxy's names.
fn parse_shared(raw: Vec<String>) -> Result<BTreeSet<String>, ConfigError> {
    if raw.len() > MAX_SHARED_CLUSTERS {
        let rule = format!("names {} clusters; at most {MAX_SHARED_CLUSTERS} are allowed", raw.len());
        return Err(ConfigError::new("sharedClusters", rule));
    }
    if let Some(at) = raw.iter().position(|name| !(1..=MAX_CLUSTER_BYTES).contains(&name.len())) {
        let rule = format!("is not a cluster's name of 1 to {MAX_CLUSTER_BYTES} bytes");
        return Err(ConfigError::new(format!("sharedClusters[{at}]"), rule));
    }
    Ok(raw.into_iter().collect())
}
