//! The filter: a thin shell around `rollout::worker::Worker`, in every Envoy worker thread.
//!
//! It gathers headers, time and messages, calls the engine, and performs what the engine returns; it never decides what to
//! do with a request. It never blocks a request and never panics. Read the modules in this order; each uses only those
//! above it.

// The proxy: the only module that speaks its binary interface.
mod host;

// The plugin's JSON, parsed into settings.
mod config_error;

mod cookie;

mod fuse;

mod canaries;

mod config;

// How the proxy learns where the agent is.
mod agent_address;

// What Envoy's own statistics show.
mod stats;

// The engine with its host: time, stream, statistics.
mod shell;

// What an answer says behind its headers.
mod answer;

// The proxy's events: a request, a copy of one, and the plugin itself.
mod http;

mod copies;

mod root;

mod start {
    proxy_wasm::main! {{
        // Installs a panic hook too: should a VM ever trap, Envoy's log says why.
        proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Warn);
        proxy_wasm::set_root_context(|id| Box::new(crate::root::Root::new(id)));
    }}
}
