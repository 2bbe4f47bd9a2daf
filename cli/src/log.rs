//! The log of the two servers: to standard error, as much as SERIN_LOG asks for, as text or as JSON.

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::args::variable;
use crate::failure::Failure;

/// Libraries that log each frame and each poll below info: they appear only when named.
const NOISY: [&str; 5] = ["h2", "hyper", "hyper_util", "tonic", "tower"];

/// The log's options.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct LogArgs {
    /// Form of the log on standard error; json writes one object a line. How much: [env: SERIN_LOG=info, agent=debug]
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl LogArgs {
    /// Starts the log of this process.
    pub(crate) fn start(self) -> Result<(), Failure> {
        let wanted = variable("SERIN_LOG").unwrap_or_else(|| "info".into());
        let filter = EnvFilter::try_new(directives(&wanted))
            .map_err(|error| Failure::Usage(format!("SERIN_LOG={wanted:?}: {error}; write info or agent=debug")))?;
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Text => log.with_ansi(is_colour_wanted()).init(),
            LogFormat::Json => log.json().flatten_event(true).init(),
        }
        Ok(())
    }
}

/// What was asked for; a level for everything stops at info for [`NOISY`] libraries that it does not name.
fn directives(wanted: &str) -> String {
    let general = wanted.split(',').filter_map(|directive| directive.trim().parse::<LevelFilter>().ok()).next_back();
    if general.is_none_or(|level| level <= LevelFilter::INFO) {
        return wanted.to_owned();
    }
    let quiet: String = NOISY.iter().map(|target| format!("{target}=info,")).collect();
    // Of two directives for one target the later holds.
    quiet + wanted
}

fn is_colour_wanted() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_for_everything_stops_at_info_for_noisy_libraries() {
        for quiet in ["info", "warn", "off", "agent=debug", "h2", "h2=trace,info"] {
            assert_eq!(directives(quiet), quiet);
        }
        let filter = EnvFilter::try_new(directives("debug")).unwrap().to_string();
        for target in NOISY {
            assert!(filter.contains(&format!("{target}=info")), "{filter}");
        }
        let filter = EnvFilter::try_new(directives("trace,h2=debug,tower::buffer=trace")).unwrap().to_string();
        assert!(filter.contains("h2=debug") && !filter.contains("h2=info"), "{filter}");
        assert!(filter.contains("tower::buffer=trace") && filter.contains("hyper=info"), "{filter}");
    }
}
