//! `serin loadtester` as a process.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::case::Case;
use crate::parts;
use crate::process::Process;
use crate::wait::until;

const WITHIN: Duration = Duration::from_secs(30);

/// A running load tester that may start `hey` and nothing else.
pub struct LoadTester {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl LoadTester {
    /// Starts it on a free port.
    pub async fn start(case: &Case) -> Result<Self> {
        let args = ["loadtester", "--http", "127.0.0.1:0", "--allow", "hey"].map(Into::into);
        let mut process = Process::start("loadtester", &parts::binary()?, &args, &[], case.dir())?;
        let addr = until("the load tester to print where it listens", WITHIN, async || {
            process.ensure_alive()?;
            let said = process.stdout()?;
            let addr = said.strip_prefix("listening http=").and_then(|line| line.strip_suffix('\n'));
            Ok(addr.with_context(|| format!("standard output is {said:?}"))?.parse()?)
        });
        let addr = addr.await?;
        Ok(Self { process, addr })
    }
}
