//! The filter: a thin shell around `rollout::worker::Worker`, in every Envoy worker thread.
//!
//! It gathers (headers, time, messages), calls the engine, and performs what comes back; what to do with a request is
//! never decided here. It never blocks a request and never panics. Read in this order:
//!
//! - `host`: the only file that speaks the proxy's binary interface
//! - `config`, `canaries`, `cookie`, `fuse`: the plugin's JSON to meant settings
//! - `agent_address`: how the proxy is told where the agent is
//! - `stats`: what Envoy's own statistics show
//! - `shell`: the engine with its host: time, stream, statistics
//! - `root`, `http`, `copies`: the proxy's events

mod agent_address;
mod canaries;
mod config;
mod cookie;
mod copies;
mod fuse;
mod host;
mod http;
mod root;
mod shell;
mod stats;

mod start {
    proxy_wasm::main! {{
        // Installs a panic hook too: should a VM ever trap, Envoy's log says why.
        proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Warn);
        proxy_wasm::set_root_context(|id| Box::new(crate::root::Root::new(id)));
    }}
}
