//! What the benchmarks ask of a running agent over its HTTP API: one canary, `web`, in every one of them.

use std::net::SocketAddr;

use ::tests::http;
use anyhow::{Context, Result, ensure};
use hyper::Method;
use serde_json::Value;

/// The canary's path.
pub const CANARY: &str = "/api/v1/canaries/default/web";
/// Who asks.
pub const ACTOR: &str = "bench";

/// Carries out `what` on the canary: `releases`, `abort`.
///
/// # Errors
/// When the agent refuses or cannot be reached.
pub async fn post(agent: SocketAddr, what: &str, body: &Value) -> Result<Value> {
    let headers = [("content-type", "application/json")];
    let path = format!("{CANARY}/{what}");
    let answer = http::request(agent, Method::POST, &path, &headers, &body.to_string()).await?;
    ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.body);
    serde_json::from_str(&answer.body).with_context(|| format!("{path}: not JSON: {}", answer.body))
}
