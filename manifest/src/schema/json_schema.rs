//! JSON Schema (draft 2020-12) of the kinds, for editors and pipelines. It knows the form; what fields mean together, such
//! as weights that must grow, only the reader knows.

use rollout::release::plan::Flavour;
use serde_json::{Map, Value, json};

use crate::fields::serin_fields::ANNOTATIONS;
use crate::fields::unsupported_fields;
use crate::kinds::{ALERT_PROVIDER, CANARY, FLAGGER, METRIC_TEMPLATE, SERIN};
use crate::reader::shape::{Field, Need, Shape};
use crate::schema::fields::{
    ANALYSIS, FLAGGERS_ANALYSIS, FLAGGERS_SPEC, FLAGGERS_WAYS, OWN_ANALYSIS, OWN_SERVICE, OWN_SPEC, OWN_WAYS, SERVICE,
    SPEC,
};
use crate::schema::named_fields::{RECEIVER_NEEDS, RECEIVERS, TEMPLATES};

/// The schema of Canary, MetricTemplate and AlertProvider in one of the two forms, as JSON text.
pub fn schema(flavour: Flavour) -> String {
    let (version, title, [flaggers, own]) = match flavour {
        Flavour::Flagger => (FLAGGER, "Flagger's kinds as Serin reads them", [true, false]),
        Flavour::Serin => (SERIN, "Serin's kinds", [false, true]),
    };
    let receiver = |fields| Object::of(fields).needing(RECEIVER_NEEDS).value();
    let [flaggers_template, own_template] = TEMPLATES;
    let [flaggers_receiver, own_receiver] = RECEIVERS;
    let of = |theirs, ours| if own { ours } else { theirs };
    let kinds = [
        (CANARY, canary(own)),
        (METRIC_TEMPLATE, Object::of(of(flaggers_template, own_template)).value()),
        (ALERT_PROVIDER, receiver(of(flaggers_receiver, own_receiver))),
    ];
    let kinds = kinds.map(|(kind, spec)| document(version, kind, &spec, flaggers && kind == CANARY));
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "type": "object",
        "required": ["apiVersion", "kind"],
        "oneOf": kinds,
    });
    format!("{schema:#}\n")
}

fn document(version: &str, kind: &str, spec: &Value, has_annotations: bool) -> Value {
    let mut metadata = json!({
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": of(Shape::Name),
            "namespace": of(Shape::Name),
            "annotations": { "type": "object", "maxProperties": 256 },
        },
    });
    if let (true, Some(annotations)) = (has_annotations, metadata.pointer_mut("/properties/annotations")) {
        let names = json!({ "anyOf": [{ "enum": ANNOTATIONS }, { "not": { "pattern": "^serin\\.dev/" } }] });
        *annotations = json!({
            "type": "object",
            "maxProperties": 256,
            "propertyNames": names,
            "patternProperties": { "^serin\\.dev/": { "type": "string" } },
            "properties": {
                "serin.dev/promotion": { "enum": ["copy", "swap"] },
                "serin.dev/promotion-hook": of(Shape::Url),
                "serin.dev/upstream-primary": of(Shape::Upstream),
                "serin.dev/upstream-canary": of(Shape::Upstream),
                "serin.dev/guards": { "enum": ["abort", "pause", "notify", "off"] },
            },
        });
    }
    json!({
        "type": "object",
        "title": kind,
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": false,
        "properties": {
            "apiVersion": { "const": version },
            "kind": { "const": kind },
            "metadata": metadata,
            "spec": spec,
            "status": true,
        },
    })
}

fn canary(own: bool) -> Value {
    let mut spec = Object::of(SPEC).and(if own { OWN_SPEC } else { FLAGGERS_SPEC });
    spec =
        unsupported_fields::SPEC.iter().fold(spec, |spec, (fields, _)| spec.and(fields)).and(unsupported_fields::NAMED);
    let mut service = Object::of(SERVICE).and(if own { OWN_SERVICE } else { &[] });
    service = unsupported_fields::SERVICE.iter().fold(service, |service, (fields, _)| service.and(fields));
    if !own {
        service.required.push("port");
    }
    let (fields, ways) = if own { (OWN_ANALYSIS, OWN_WAYS) } else { (FLAGGERS_ANALYSIS, FLAGGERS_WAYS) };
    let mut analysis = Object::of(ANALYSIS).and(fields).needing(ways);
    analysis = unsupported_fields::ANALYSIS.iter().fold(analysis, |analysis, (fields, _)| analysis.and(fields));
    spec.properties.insert("service".into(), service.value());
    spec.properties.insert("analysis".into(), analysis.value());
    spec.required.push("analysis");
    spec.value()
}

/// A map of known fields.
struct Object {
    properties: Map<String, Value>,
    required: Vec<&'static str>,
    need: Need,
}

impl Object {
    fn of(fields: &'static [Field]) -> Self {
        Self { properties: Map::new(), required: Vec::new(), need: Need::Nothing }.and(fields)
    }

    fn and(mut self, fields: &'static [Field]) -> Self {
        for Field { name, shape, is_required, about } in fields {
            let mut value = of(*shape);
            if let (Value::Object(value), false) = (&mut value, about.is_empty()) {
                value.insert("description".into(), json!(about));
            }
            self.properties.insert((*name).into(), value);
            self.required.extend(is_required.then_some(*name));
        }
        self
    }

    fn needing(self, need: Need) -> Self {
        Self { need, ..self }
    }

    fn value(self) -> Value {
        let Self { properties, required, need } = self;
        let mut value = json!({ "type": "object", "additionalProperties": false, "properties": properties });
        let each = |names: &[&str]| names.iter().map(|name| json!({ "required": [name] })).collect::<Vec<_>>();
        let (key, each) = match need {
            Need::Nothing => (None, Vec::new()),
            Need::ExactlyOne(names) => (Some("oneOf"), each(names)),
            Need::AtLeastOne(names) => (Some("anyOf"), each(names)),
        };
        if let Value::Object(value) = &mut value {
            if !required.is_empty() {
                value.insert("required".into(), json!(required));
            }
            if let Some(key) = key {
                value.insert(key.into(), Value::Array(each));
            }
        }
        value
    }
}

fn of(shape: Shape) -> Value {
    let pattern = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    match shape {
        Shape::Text => json!({ "type": "string" }),
        Shape::Named => pattern("\\S"),
        Shape::Name => pattern("^[A-Za-z0-9._-]{1,253}$"),
        Shape::VersionName => pattern("^[A-Za-z0-9_-]{1,63}$"),
        Shape::Upstream => pattern("^[A-Za-z0-9._|:/~-]{1,253}$"),
        Shape::Path => pattern("^/"),
        Shape::Word(words) => json!({ "enum": words }),
        Shape::Url => pattern("^https?://[!-.0-~][!-~]*$"),
        Shape::Token => pattern("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}$"),
        Shape::Span => pattern("^(([0-9]+\\.?[0-9]*|\\.[0-9]+)(ms|s|m|min|h))+$"),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::True => json!({ "const": true }),
        Shape::Number => json!({ "type": "number" }),
        Shape::Percent => json!({ "type": "number", "minimum": 0, "maximum": 100 }),
        Shape::Whole(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Shape::PortOrName => json!({ "anyOf": [{ "type": "string" }, of(Shape::Whole(1, 65_535))] }),
        Shape::Any => json!({}),
        Shape::List(item, most) => json!({ "type": "array", "maxItems": most, "items": of(*item) }),
        Shape::Keyed(value) => {
            json!({ "type": "object", "maxProperties": 256, "additionalProperties": of(*value) })
        }
        Shape::Fields(fields, need) => Object::of(fields).needing(need).value(),
        Shape::Either(shapes) => json!({ "anyOf": shapes.iter().map(|shape| of(*shape)).collect::<Vec<_>>() }),
    }
}
