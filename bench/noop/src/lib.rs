//! A filter that does nothing, written as the SDK means filters to be written: the floor that the benchmark compares
//! with. Whatever Serin costs beyond it is Serin's own doing.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

mod start {
    proxy_wasm::main! {{
        proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Warn);
        proxy_wasm::set_root_context(|_| Box::new(crate::Root));
    }}
}

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Idle))
    }
}

/// One request, of which nothing is asked.
struct Idle;

impl Context for Idle {}

impl HttpContext for Idle {}
