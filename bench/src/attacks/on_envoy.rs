//! A few releases under each attack on a real Envoy, half of them at 10 %, half at 50 % weight.
//!
//! Envoy, agent and upstreams stay for all rounds of an attack and weight; each round is a release of its own revision.

use std::time::{Duration, Instant};

use ::tests::attack::LiveAttack;
use ::tests::case::Case;
use ::tests::load::Running;
use ::tests::stage::Stage;
use ::tests::upstream::Behaviour;
use anyhow::{Result, ensure};
use serde::Serialize;
use tokio::time::sleep;

use crate::attacks::limit::upper_95;
use crate::attacks::options::AttackOptions;
use crate::output::table;

/// Requests a second of users.
const RPS: f64 = 100.0;
/// How long a healthy release is attacked.
const ATTACKED_FOR: Duration = Duration::from_secs(12);
/// How long a bad one may stand.
const UNTIL_FOUND: Duration = Duration::from_secs(60);
/// How often the release is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const WEIGHTS: [&str; 2] = ["10", "50"];

/// One attack's releases.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EnvoyRow {
    /// The attack.
    pub attack: &'static str,
    /// Healthy releases.
    pub rounds: u32,
    /// Those that were aborted, with the reasons.
    pub aborted: Vec<String>,
    /// Those that a guard stopped for a person to look.
    pub paused: u32,
    /// Releases of a canary that fails everything.
    pub bad_rounds: u32,
    /// Bad answers of it to users, in each of them that was aborted.
    pub bad_responses: Vec<u64>,
}

/// Plays all attacks that are asked for.
///
/// # Errors
/// When something does not start or a release does not do what it is told.
pub async fn play(options: &AttackOptions, progress: impl Fn(&str)) -> Result<Vec<EnvoyRow>> {
    let mut rows = Vec::new();
    for attack in LiveAttack::ALL.into_iter().filter(|attack| attack.name().contains(&options.only)) {
        let mut row = EnvoyRow { attack: attack.name(), ..EnvoyRow::default() };
        for (place, weight) in WEIGHTS.into_iter().enumerate() {
            let half = |all: u32| (all + 1 - place as u32) / 2;
            let rounds = half(options.rounds()) + half(options.bad_rounds());
            let case = Case::new("bench-attacks")?;
            let stage = Stage::start(&case, &attack.manifest(weight)?).await?;
            for round in 0..rounds {
                let is_bad = round >= half(options.rounds());
                row.play(&stage, attack, weight, &format!("r{round}"), is_bad).await?;
            }
            drop(stage);
            case.remove();
            progress(&format!("{}, {weight} %: {} of {} aborted", row.attack, row.aborted.len(), row.rounds));
        }
        rows.push(row);
    }
    ensure!(!rows.is_empty(), "no attack has {:?} in its name", options.only);
    Ok(rows)
}

impl EnvoyRow {
    async fn play(
        &mut self,
        stage: &Stage,
        attack: LiveAttack,
        weight: &str,
        revision: &str,
        is_bad: bool,
    ) -> Result<()> {
        for (version, name) in [(&stage.versions.primary, "v1"), (&stage.versions.canary, revision)] {
            version.restart_as(Behaviour::healthy(name));
        }
        let users = attack.users(stage).start(RPS).await?;
        stage.release(revision).await?;
        stage.weight(weight.parse()?).await?;
        let attackers = attack.start(stage).await?;
        stage.versions.canary.set(|it| it.fail_ratio = f64::from(u8::from(is_bad)));
        let (phase, message) = watched(stage, if is_bad { UNTIL_FOUND } else { ATTACKED_FOR }).await?;
        drop(attackers);
        if is_bad {
            self.bad_rounds += 1;
            self.bad_responses.extend((phase == "Failed").then(|| bad_of(&users, revision)));
        } else {
            self.rounds += 1;
            self.paused += u32::from(phase == "Paused");
            self.aborted.extend((phase == "Failed").then_some(message));
        }
        if phase != "Failed" {
            stage.abort().await?;
        }
        stage.weight(0.0).await?;
        users.stop().await?;
        Ok(())
    }

    /// Whether every bad release was aborted.
    #[must_use]
    pub fn is_found(&self) -> bool {
        self.bad_responses.len() == self.bad_rounds as usize
    }
}

/// The phase and its reason when the release is over, else when the time is.
async fn watched(stage: &Stage, within: Duration) -> Result<(String, String)> {
    let started = Instant::now();
    loop {
        let status = stage.status().await?;
        if status.phase == "Failed" || started.elapsed() >= within {
            return Ok((status.phase, status.message));
        }
        sleep(LOOK_EVERY).await;
    }
}

fn bad_of(users: &Running, revision: &str) -> u64 {
    users.samples().of(revision).filter(|sample| sample.is_bad()).count() as u64
}

/// All rows, and what a reader needs to judge them.
#[must_use]
pub fn text(rows: &[EnvoyRow]) -> String {
    let head = ["attack", "aborted", "at most", "paused", "fails 100 %", "bad answers"].map(str::to_owned);
    let cells = |row: &EnvoyRow| {
        let aborted = row.aborted.len() as u32;
        let bad = row.bad_responses.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
        vec![
            row.attack.to_owned(),
            format!("{aborted}/{}", row.rounds),
            format!("{:.0} %", upper_95(aborted, row.rounds) * 100.0),
            row.paused.to_string(),
            format!("{}/{}", row.bad_responses.len(), row.bad_rounds),
            bad,
        ]
    };
    let causes = rows.iter().flat_map(|row| row.aborted.iter().map(|cause| format!("{}: {cause}\n", row.attack)));
    format!(
        "{}{}\nOn a real Envoy, {} requests a second of users, half of the rounds at 10 %, half at 50 % weight, each attacked for \
         {} s.\nHealthy releases: aborted; the upper 95 % limit of their true share; paused by a guard. Those of a canary that \
         fails\neverything under the same attack: aborted, and bad answers to users in each.\n",
        table(&head, rows.iter().map(cells)),
        causes.collect::<String>(),
        RPS,
        ATTACKED_FOR.as_secs(),
    )
}
