//! `cargo xtask demo`: three releases on a real Envoy, as a readable time line.
//!
//! A good version climbs to promotion, one that fails is aborted, one that is slow is aborted on its p95. What users got is
//! counted by the load generator itself, not by Serin.

mod act;
mod options;
mod stage;
mod summary;
mod timeline;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tests::case::Case;

use crate::act::Act;
use crate::options::Options;
use crate::stage::Stage;
use crate::timeline::Timeline;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Plays all acts; `false` when one did not end as it must.
async fn run(options: &Options) -> Result<bool> {
    let case = Case::new("demo")?;
    let out = Timeline::new(options.json);
    out.say("Starting two versions of a service, Envoy (2 worker threads), the agent and the load ...");
    let stage = Stage::start(case.dir(), options).await?;
    out.say(&stage.describe(options));
    let mut results = Vec::new();
    for act in Act::all(options) {
        results.push(act.play(&stage, &out).await?);
    }
    let summary = summary::Summary::new(&results, stage.samples().count());
    if options.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        println!("{summary}");
    }
    if options.keep {
        out.say(&format!("{}\n\nLeft running; Ctrl-C ends it all.", stage.urls()));
        tokio::signal::ctrl_c().await?;
    }
    drop(stage);
    case.remove();
    Ok(summary.as_expected)
}
