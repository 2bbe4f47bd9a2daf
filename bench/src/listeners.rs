//! The listeners that are compared, side by side in one Envoy with one worker thread: same process, same connections to
//! the upstreams, so that only the filter chain and the routes differ.
//!
//! All are built from the shipped standalone configuration. The last one, with the filter and a real agent, is that
//! configuration verbatim; the others stand beside it in the same file.

use std::net::SocketAddr;
use std::path::PathBuf;

use ::tests::edit::replace_once;
use ::tests::envoy::STANDALONE;
use anyhow::{Context, Result};
use serde_json::{Value, json};

/// The canary's share in every listener that splits, in percent.
pub const CANARY_PERCENT: u32 = 10;

/// What a listener does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// One route, no filter but the router.
    Plain,
    /// Envoy's own random split.
    WeightedClusters,
    /// The shipped listener, guard and header routes included, without the filter: what Serin's routes cost.
    FilterRemoved,
    /// A script that draws, sets the decision header, and counts nothing.
    Lua,
    /// The plain route behind a wasm filter of the SDK that does nothing.
    Noop,
    /// The shipped listener with a static canary: drawn for each request, counted in Envoy's statistics, no agent.
    SerinWeight,
    /// The shipped listener as it is: a release in progress, sticky by a header, everything counted and reported.
    SerinSticky,
}

impl Variant {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 7] = [
        Self::Plain,
        Self::WeightedClusters,
        Self::FilterRemoved,
        Self::Lua,
        Self::Noop,
        Self::SerinWeight,
        Self::SerinSticky,
    ];

    /// Its name in the table and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain route",
            Self::WeightedClusters => "native weighted_clusters",
            Self::FilterRemoved => "shipped listener, filter removed",
            Self::Lua => "Lua: random weight + header",
            Self::Noop => "no-op wasm",
            Self::SerinWeight => "Serin: weight only",
            Self::SerinSticky => "Serin: sticky header + all metrics",
        }
    }

    /// Whether a share of its requests goes to the canary.
    #[must_use]
    pub const fn is_split(self) -> bool {
        !matches!(self, Self::Plain | Self::Noop | Self::FilterRemoved)
    }
}

/// The modules that are compared.
pub struct Modules {
    /// The filter as it is deployed.
    pub serin: PathBuf,
    /// The one that does nothing.
    pub noop: PathBuf,
}

/// Adds listeners to the shipped configuration.
///
/// # Errors
/// When the shipped configuration no longer has the form that this file knows.
pub fn beside_the_shipped_one(shipped: &str, added: &[Value]) -> Result<String> {
    // JSON is YAML, and on one line it has no indentation to get wrong.
    let lines: String = added.iter().map(|listener| format!("    - {listener}\n")).collect();
    replace_once(shipped, "\n  clusters:\n", &format!("{lines}\n  clusters:\n"))
}

/// The listener of a variant other than [`Variant::SerinSticky`], which is the shipped one.
///
/// # Errors
/// When the shipped configuration no longer has the form that this file knows.
pub fn listener(variant: Variant, addr: SocketAddr, modules: &Modules) -> Result<Value> {
    let file: Value = serde_saphyr::from_str(STANDALONE).context("the shipped configuration is no YAML")?;
    let mut listener = at(&file, "/static_resources/listeners/0")?.clone();
    let name = format!("{variant:?}");
    *at_mut(&mut listener, "/address/socket_address/port_value")? = json!(addr.port());
    let manager = at_mut(&mut listener, "/filter_chains/0/filters/0/typed_config")?;
    *at_mut(manager, "/stat_prefix")? = json!(name);
    change(manager, variant, modules)?;
    *at_mut(&mut listener, "/name")? = json!(name);
    Ok(listener)
}

fn change(manager: &mut Value, variant: Variant, modules: &Modules) -> Result<()> {
    let serin = at(manager, "/http_filters/0")?.clone();
    let router = at(manager, "/http_filters/1")?.clone();
    let filters = match variant {
        Variant::Plain | Variant::WeightedClusters | Variant::FilterRemoved => vec![router],
        Variant::Lua => vec![lua(), router],
        Variant::Noop => vec![noop(serin, modules)?, router],
        Variant::SerinWeight => vec![static_canary(serin, modules)?, router],
        Variant::SerinSticky => vec![serin, router],
    };
    *at_mut(manager, "/http_filters")? = json!(filters);
    let routes = at_mut(manager, "/route_config/virtual_hosts/0/routes")?;
    let default_route = routes.as_array().and_then(|routes| routes.last()).context("no routes")?.clone();
    match variant {
        Variant::Plain | Variant::Noop => *routes = json!([default_route]),
        Variant::WeightedClusters => *routes = json!([weighted(default_route)?]),
        Variant::FilterRemoved | Variant::Lua | Variant::SerinWeight | Variant::SerinSticky => {}
    }
    // The script replaces the client's copy of the header by itself; where no route reads it there is nothing to guard.
    let is_guarded = matches!(variant, Variant::FilterRemoved | Variant::SerinWeight | Variant::SerinSticky);
    if !is_guarded {
        let fields = manager.as_object_mut().context("the connection manager is no map")?;
        fields.remove("early_header_mutation_extensions").context("the shipped listener has no guard")?;
    }
    Ok(())
}

fn weighted(mut route: Value) -> Result<Value> {
    let clusters = json!([
        { "name": "web-primary", "weight": 100 - CANARY_PERCENT },
        { "name": "web-canary", "weight": CANARY_PERCENT },
    ]);
    *at_mut(&mut route, "/route")? = json!({ "weighted_clusters": { "clusters": clusters } });
    Ok(route)
}

fn lua() -> Value {
    let code = format!(
        "function envoy_on_request(request)\n\
         \x20 local upstream = math.random(100) <= {CANARY_PERCENT} and \"web-canary\" or \"web-primary\"\n\
         \x20 request:headers():replace(\"x-serin-upstream\", upstream)\n\
         end\n"
    );
    let config = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
        "default_source_code": { "inline_string": code },
    });
    json!({ "name": "lua", "typed_config": config })
}

fn noop(mut filter: Value, modules: &Modules) -> Result<Value> {
    *at_mut(&mut filter, "/name")? = json!("noop");
    let config = at_mut(&mut filter, "/typed_config/config")?;
    *at_mut(config, "/name")? = json!("noop");
    *at_mut(config, "/vm_config/code/local/filename")? = json!(modules.noop);
    config.as_object_mut().and_then(|config| config.remove("configuration")).context("no configuration")?;
    Ok(filter)
}

fn static_canary(mut filter: Value, modules: &Modules) -> Result<Value> {
    let canary = json!({
        "namespace": "default", "name": "fixed", "hosts": ["*"], "weight": CANARY_PERCENT,
        "primary": "web-primary", "canary": "web-canary",
    });
    let settings = json!({ "canaries": [canary], "defaultUpstreams": { "default/fixed": "web-primary" } });
    let config = at_mut(&mut filter, "/typed_config/config")?;
    *at_mut(config, "/configuration/value")? = json!(settings.to_string());
    *at_mut(config, "/vm_config/code/local/filename")? = json!(modules.serin);
    // The same code otherwise runs in one VM with the shipped listener's, and shares its heap.
    let vm = at_mut(config, "/vm_config")?.as_object_mut().context("vm_config is no map")?;
    vm.insert("vm_id".to_owned(), json!("static"));
    Ok(filter)
}

fn at<'a>(value: &'a Value, path: &str) -> Result<&'a Value> {
    value.pointer(path).with_context(|| format!("the shipped configuration has no {path}"))
}

fn at_mut<'a>(value: &'a mut Value, path: &str) -> Result<&'a mut Value> {
    value.pointer_mut(path).with_context(|| format!("the shipped configuration has no {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters_and_routes(variant: Variant) -> (Vec<String>, usize, bool) {
        let modules = Modules { serin: "/s.wasm".into(), noop: "/n.wasm".into() };
        let listener = listener(variant, "127.0.0.1:1234".parse().unwrap(), &modules).unwrap();
        let manager = at(&listener, "/filter_chains/0/filters/0/typed_config").unwrap();
        let filters = at(manager, "/http_filters").unwrap().as_array().unwrap();
        let names = filters.iter().map(|filter| filter["name"].as_str().unwrap().to_owned()).collect();
        let routes = at(manager, "/route_config/virtual_hosts/0/routes").unwrap().as_array().unwrap().len();
        (names, routes, manager.get("early_header_mutation_extensions").is_some())
    }

    #[test]
    fn each_variant_has_its_filters_routes_and_guard() {
        let router = "envoy.filters.http.router";
        for (variant, filters, routes, guard) in [
            (Variant::Plain, vec![router], 1, false),
            (Variant::WeightedClusters, vec![router], 1, false),
            (Variant::FilterRemoved, vec![router], 3, true),
            (Variant::Lua, vec!["lua", router], 3, false),
            (Variant::Noop, vec!["noop", router], 1, false),
            (Variant::SerinWeight, vec!["serin", router], 3, true),
            (Variant::SerinSticky, vec!["serin", router], 3, true),
        ] {
            let filters = filters.into_iter().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(filters_and_routes(variant), (filters, routes, guard), "{variant:?}");
        }
    }

    #[test]
    fn the_shipped_listener_stays_as_it_is_beside_the_others() {
        let both = beside_the_shipped_one(STANDALONE, &[json!({ "name": "other" })]).unwrap();
        let file: Value = serde_saphyr::from_str(&both).unwrap();
        let shipped: Value = serde_saphyr::from_str(STANDALONE).unwrap();
        let listeners = at(&file, "/static_resources/listeners").unwrap();
        assert_eq!(listeners[0], *at(&shipped, "/static_resources/listeners/0").unwrap());
        assert_eq!(listeners[1], json!({ "name": "other" }));
        assert!(beside_the_shipped_one("no clusters", &[]).is_err());
    }
}
