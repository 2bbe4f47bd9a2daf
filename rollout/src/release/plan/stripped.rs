//! A plan as it may be handed out: with all that decides, and nothing that a reader could misuse.

use super::{Plan, Promotion};
use crate::release::integrations::{Hook, HookTarget};

impl Plan {
    /// The same without what may be secret and decides nothing: whose alerts go where, headers, metadata, and of every
    /// address all but scheme and host; paths, too, hold tokens. What it decides, and under which names, stays.
    #[must_use]
    pub fn stripped(mut self) -> Self {
        let outside = &mut self.0.outside;
        outside.alerts.clear();
        outside.hooks.iter_mut().for_each(strip);
        for metric in &mut outside.metrics {
            metric.provider.headers.clear();
            metric.provider.address.iter_mut().for_each(|address| *address = scheme_and_host(address));
        }
        if let Promotion::Copy { hook: Some(hook) } = &mut self.0.promotion {
            strip(hook);
        }
        self
    }
}

fn strip(hook: &mut Hook) {
    // A gate's path is no secret, and decides who may open it.
    let path = if hook.has_gate_url() { hook.gate_path() } else { "" };
    if let HookTarget::Call(call) = &mut hook.target {
        call.url = scheme_and_host(&call.url) + path;
        call.metadata.clear();
    }
}

/// `https://user:password@host:8443/path?query` becomes `https://host:8443`; what has another form is left out.
pub(crate) fn scheme_and_host(address: &str) -> String {
    let Some((scheme, rest)) = address.trim().split_once("://") else { return String::new() };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::scheme_and_host;

    #[test]
    fn of_an_address_its_scheme_and_host_are_left() {
        for (address, left) in [
            ("https://bot:s3cret@h.example:8443/hooks/s3cret?key=s3cret#s3cret", "https://h.example:8443"),
            ("http://a:s3cret@s3cret@[::1]:80", "http://[::1]:80"),
            ("http://h?key=s3cret@x", "http://h"),
            (" http://h ", "http://h"),
            ("hooks.example/s3cret", ""),
            ("", ""),
        ] {
            assert_eq!(scheme_and_host(address), left, "{address}");
        }
    }
}
