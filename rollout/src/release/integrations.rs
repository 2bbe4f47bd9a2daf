//! What stands outside the proxy and is asked or notified: hooks, metric providers, receivers of alerts. Only their
//! description; the shells call them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::time::Millis;

/// A secret by name. Its values never stand in a plan, so neither in the journal nor in any answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// When a hook is called, and what its answer decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookKind {
    /// Before a release takes traffic; until it agrees the release waits.
    ConfirmRollout,
    /// Once the release may begin, before its first traffic; a refusal is a failed check.
    PreRollout,
    /// At every check; a refusal is a failed check.
    Rollout,
    /// Before each step that gives the canary more; until it agrees the step waits.
    ConfirmTrafficIncrease,
    /// When all steps are proven, before all traffic goes there to bake or by a switch; until it agrees the release waits,
    /// still judged.
    ConfirmPromotion,
    /// Brings the primary to the new version; its answer ends the wait.
    Promotion,
    /// After the end, good or bad; its answer changes nothing.
    PostRollout,
    /// At every check; where it agrees the release is rolled back.
    Rollback,
    /// Notification of every event; its answer changes nothing.
    Event,
}

impl HookKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::ConfirmRollout,
        Self::PreRollout,
        Self::Rollout,
        Self::ConfirmTrafficIncrease,
        Self::ConfirmPromotion,
        Self::Promotion,
        Self::PostRollout,
        Self::Rollback,
        Self::Event,
    ];

    /// Its name in manifests, as Flagger's (which has no `promotion`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConfirmRollout => "confirm-rollout",
            Self::PreRollout => "pre-rollout",
            Self::Rollout => "rollout",
            Self::ConfirmTrafficIncrease => "confirm-traffic-increase",
            Self::ConfirmPromotion => "confirm-promotion",
            Self::Promotion => "promotion",
            Self::PostRollout => "post-rollout",
            Self::Rollback => "rollback",
            Self::Event => "event",
        }
    }

    /// Whether its answer is an approval, which a stored gate can give as well.
    pub const fn is_approval(self) -> bool {
        matches!(self, Self::ConfirmRollout | Self::ConfirmTrafficIncrease | Self::ConfirmPromotion | Self::Rollback)
    }
}

/// One hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hook {
    /// Name in messages; unique within its plan.
    pub name: String,
    /// When it is called.
    pub kind: HookKind,
    /// Who answers.
    pub target: HookTarget,
    /// Whether no alert is sent while its approval is awaited.
    pub mute_alert: bool,
}

impl Hook {
    /// Whether people open and close it: a gate that this agent keeps by name, or one at the gate URLs of Flagger's load
    /// tester, which the agent serves as well.
    pub fn is_gate(&self) -> bool {
        matches!(self.target, HookTarget::Gate) || self.has_gate_url()
    }

    /// Whether it asks at a gate URL: `/rollback/check` of one that rolls back, `/gate/check` of an approval.
    pub fn has_gate_url(&self) -> bool {
        self.gate_url().is_some()
    }

    /// The gate URL that it asks at.
    pub(crate) fn gate_url(&self) -> Option<&str> {
        let HookTarget::Call(call) = &self.target else { return None };
        let (_, rest) = call.url.split_once("://")?;
        let path = rest.get(rest.find('/')?..)?.split(['?', '#']).next()?;
        (path.trim_end_matches('/') == self.gate_path()).then_some(call.url.as_str())
    }

    /// The path of the gate URL that its kind asks at.
    pub const fn gate_path(&self) -> &'static str {
        if matches!(self.kind, HookKind::Rollback) { "/rollback/check" } else { "/gate/check" }
    }
}

/// Who answers a hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HookTarget {
    /// A gate that this agent keeps, opened and closed by people; closed until opened. Only for approvals.
    Gate,
    /// A program that is called.
    Call(HookCall),
}

/// One HTTP endpoint and how to call it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookCall {
    /// Where to POST.
    pub url: String,
    /// How long one attempt may take.
    pub timeout: Millis,
    /// Attempts after the first, on a network error, 429 or 5xx.
    pub retries: u32,
    /// Whether the server's certificate is not verified.
    pub insecure_skip_verify: bool,
    /// Sent as they stand.
    pub metadata: BTreeMap<String, String>,
    /// Each key of this secret is a request header, each value its value.
    pub headers: Option<SecretRef>,
    /// This secret's key `key` signs the body (HMAC-SHA256).
    pub signature: Option<SecretRef>,
}

/// What kind of server answers queries; the names are those of `MetricTemplate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// Prometheus and what speaks its API.
    Prometheus,
    /// Datadog.
    Datadog,
    /// Amazon CloudWatch.
    CloudWatch,
    /// New Relic Insights.
    NewRelic,
    /// Graphite's render API.
    Graphite,
    /// InfluxDB 2, Flux.
    InfluxDb,
    /// Google Cloud Monitoring, MQL.
    Stackdriver,
    /// Dynatrace metrics API v2.
    Dynatrace,
    /// Splunk Observability, SignalFlow.
    Splunk,
    /// Anything that answers JSON over HTTP; ours, not Flagger's.
    Http,
}

/// A metric server: `MetricTemplate`'s `spec.provider`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// What it speaks.
    pub kind: ProviderKind,
    /// Its base URL; none where the vendor has one address for all.
    pub address: Option<String>,
    /// Headers sent with each query.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Credentials.
    pub secret: Option<SecretRef>,
    /// Where CloudWatch is asked.
    pub region: Option<String>,
    /// Whether the server's certificate is not verified.
    pub insecure_skip_verify: bool,
}

/// What a metric server said that is no value. It is blind, which is not the same as a bad canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MetricError {
    /// It answered, with nothing: no series, no point, or not a number.
    NoValue,
    /// It did not answer, or refused; why, without secrets.
    Failed(String),
}

/// How grave a message is; an alert takes its own severity and graver ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Info,
    /// A person should look.
    Warn,
    /// The release failed.
    Error,
}

/// What kind of receiver; the names are those of `AlertProvider`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceiverKind {
    /// Slack.
    Slack,
    /// Microsoft Teams.
    MsTeams,
    /// Discord.
    Discord,
    /// Rocket.Chat.
    Rocket,
    /// Google Chat.
    GChat,
    /// Plain JSON to any server; ours, not Flagger's.
    Webhook,
}

/// Who is notified: `AlertProvider`'s `spec`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receiver {
    /// What it speaks.
    pub kind: ReceiverKind,
    /// Where; the secret's key `address` comes before it.
    pub address: Option<String>,
    /// Its keys `address` and `token` (sent as a bearer token: Slack's bot token, or the plain webhook's).
    pub secret: Option<SecretRef>,
    /// The channel.
    pub channel: String,
    /// Who speaks there.
    pub username: String,
    /// HTTP proxy on the way.
    pub proxy: Option<String>,
}

/// One alert of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Its name in messages about it.
    pub name: String,
    /// The least grave of what it is sent.
    pub severity: Severity,
    /// Who is notified.
    pub receiver: Receiver,
}

impl Alert {
    /// Whether a message so grave is sent to its receiver: its own severity and graver ones are.
    #[must_use]
    pub fn takes(&self, message: Severity) -> bool {
        message >= self.severity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_that_asks_at_the_gate_url_of_its_kind_is_a_gate() {
        use HookKind::{ConfirmPromotion, ConfirmRollout, ConfirmTrafficIncrease, Event, PreRollout, Rollback};
        let is_gate = |kind, url: &str| {
            let call = HookCall {
                url: url.into(),
                timeout: Millis(1),
                retries: 0,
                insecure_skip_verify: false,
                metadata: BTreeMap::new(),
                headers: None,
                signature: None,
            };
            Hook { name: "go".into(), kind, target: HookTarget::Call(call), mute_alert: false }.is_gate()
        };
        for (kind, url, expected) in [
            (ConfirmRollout, "http://127.0.0.1:34267/gate/check", true),
            (ConfirmTrafficIncrease, "https://serin.ops.svc/gate/check/", true),
            (ConfirmPromotion, "http://[::1]:7071/gate/check?team=shop#x", true),
            (Rollback, "http://ann:pass@serin:7071/rollback/check", true),
            (Rollback, "http://serin/gate/check", false),
            (ConfirmRollout, "http://serin/rollback/check", false),
            (ConfirmRollout, "http://serin/gate/approve", false),
            (ConfirmRollout, "http://serin/proxied/gate/check", false),
            (ConfirmRollout, "http://serin/?to=/gate/check", false),
            (ConfirmRollout, "http://gate/check", false),
            (ConfirmRollout, "gate/check", false),
            (ConfirmRollout, "", false),
            (PreRollout, "http://serin/hooks/check", false),
            (Event, "http://serin/event", false),
        ] {
            assert_eq!(is_gate(kind, url), expected, "{kind:?} {url}");
        }
    }

    #[test]
    fn an_alert_takes_its_severity_and_graver_ones() {
        use Severity::{Error, Info, Warn};
        let table = [(Info, [true, true, true]), (Warn, [false, true, true]), (Error, [false, false, true])];
        for (own, expected) in table {
            let receiver = Receiver {
                kind: ReceiverKind::Slack,
                address: None,
                secret: None,
                channel: "general".into(),
                username: "flagger".into(),
                proxy: None,
            };
            let alert = Alert { name: "on-call".into(), severity: own, receiver };
            assert_eq!([Info, Warn, Error].map(|message| alert.takes(message)), expected, "{own:?}");
        }
    }
}
