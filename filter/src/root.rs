//! The plugin's own events: configuration, heartbeat, and the stream to the agent.
//!
//! Envoy runs every new configuration in a throw-away VM first, so configuring has no effect outside the VM but for a log
//! line and the gauge; the first tick opens the stream.

use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType, LogLevel};
use rollout::base::names::Upstream;
use rollout::worker::REPORT_EVERY;

use crate::config::{Config, MAX_CONFIG_BYTES, Plugin};
use crate::config_error::ConfigError;
use crate::copies::{self, Copy};
use crate::host;
use crate::http::Http;
use crate::shell::Shell;

/// One configured plugin in one VM.
pub(crate) struct Root {
    /// Its context, as the host calls it.
    id: u32,
    shell: Option<Rc<RefCell<Shell>>>,
    /// The upstream whose copies are measured here, instead of routing.
    copies_to: Option<Upstream>,
}

impl Root {
    /// A plugin that is not configured yet.
    pub(crate) const fn new(id: u32) -> Self {
        Self { id, shell: None, copies_to: None }
    }

    /// Borrows the shell for one event. Events do not nest, so this cannot fail; if it did, the event would be dropped.
    fn with_shell(&self, act: impl FnOnce(&mut Shell)) {
        if let Some(shell) = &self.shell
            && let Ok(mut shell) = shell.try_borrow_mut()
        {
            act(&mut shell);
        }
    }

    fn take_config(&mut self, config: Config) {
        match &self.shell {
            Some(_) => self.with_shell(|shell| shell.reconfigure(config)),
            None => {
                let shell = Rc::new(RefCell::new(Shell::new(self.id, config)));
                copies::announce(&shell);
                self.shell = Some(shell);
            }
        }
    }
}

impl RootContext for Root {
    /// Never refuses: Envoy would not start, or drop the listener, over a mistake that only concerns canaries.
    fn on_configure(&mut self, size: usize) -> bool {
        let read = read_config(size);
        let is_bad = read.is_err();
        match read {
            Ok(Plugin::Router(config)) => self.take_config(*config),
            Ok(Plugin::Copies(upstream)) => {
                self.copies_to = Some(upstream);
                return true;
            }
            Err(error) => {
                let instead = if self.shell.is_some() {
                    "keeping the last valid one"
                } else {
                    self.take_config(Config::safe());
                    "every request goes to the primary"
                };
                let line = format!("serin: configuration refused, {instead}: {error}");
                host::log(LogLevel::Error, &line);
            }
        }
        self.with_shell(|shell| shell.stats.bad_config(is_bad));
        let period_ms = u32::try_from(REPORT_EVERY.0).unwrap_or(u32::MAX);
        if let Err(error) = host::tick_every(period_ms) {
            let line = format!("serin: cannot set the tick period ({error}): the filter runs without the agent");
            host::log(LogLevel::Error, &line);
        }
        true
    }

    fn on_tick(&mut self) {
        self.with_shell(Shell::tick);
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(match &self.copies_to {
            Some(upstream) => Box::new(Copy::new(upstream.clone())),
            None => Box::new(Http::new(self.shell.clone())),
        })
    }
}

impl Context for Root {
    fn on_grpc_stream_message(&mut self, token: u32, size: usize) {
        self.with_shell(|shell| shell.message(token, size));
    }

    fn on_grpc_stream_close(&mut self, token: u32, grpc_status: u32) {
        self.with_shell(|shell| shell.closed(token, grpc_status));
    }

    fn on_done(&mut self) -> bool {
        self.with_shell(Shell::end);
        true
    }
}

fn read_config(size: usize) -> Result<Plugin, ConfigError> {
    if size > MAX_CONFIG_BYTES {
        let rule = format!("is {size} bytes long; at most {MAX_CONFIG_BYTES} are read");
        return Err(ConfigError::new("configuration", rule));
    }
    if size == 0 {
        return Plugin::parse(&[]);
    }
    let json = host::buffer(BufferType::PluginConfiguration, size)
        .map_err(|error| ConfigError::new("configuration", format!("cannot be read from the proxy: {error}")))?;
    Plugin::parse(&json)
}
