//! Flagger's fields about what is beside the proxies: objects of Kubernetes and routes of meshes. They are validated
//! as Flagger's own schema does, and each is named in a warning, since nothing here acts on them.

use crate::reader::shape::{Field, Need, Shape, field, required};

const TEXTS: Shape = Shape::List(&Shape::Text, 256);
const TEXT_MAP: Shape = Shape::Keyed(&Shape::Text);
const COUNT: Shape = Shape::Whole(0, i32::MAX as i64);
const NONE: Need = Need::Nothing;

/// Flagger's names of what it can route with.
pub(crate) const PROVIDERS: &[&str] = &[
    "apisix",
    "appmesh",
    "appmesh:v1beta2",
    "contour",
    "gatewayapi:v1",
    "gatewayapi:v1beta1",
    "gloo",
    "istio",
    "knative",
    "kubernetes",
    "kuma",
    "linkerd",
    "nginx",
    "osm",
    "skipper",
    "smi:v1alpha1",
    "smi:v1alpha2",
    "smi:v1alpha3",
    "traefik",
];

macro_rules! reference {
    ($kinds:expr $(, $more:expr)*) => {
        Shape::Fields(
            &[
                required("apiVersion", Shape::Text, ""),
                required("kind", Shape::Word($kinds), ""),
                required("name", Shape::Text, ""),
                $($more),*
            ],
            NONE,
        )
    };
}

const AUTOSCALER: Shape = reference!(
    &["HorizontalPodAutoscaler", "ScaledObject"],
    field("primaryScalerQueries", TEXT_MAP, ""),
    field(
        "primaryScalerReplicas",
        Shape::Fields(
            &[
                field("minReplicas", Shape::Whole(1, i32::MAX as i64), ""),
                field("maxReplicas", Shape::Whole(1, i32::MAX as i64), ""),
            ],
            NONE,
        ),
        ""
    )
);
/// `ingressRef`; its name is `{{ ingress }}` in queries.
pub(crate) const INGRESS: Shape = reference!(&["Ingress"]);
/// `routeRef`; its name is `{{ route }}` in queries.
pub(crate) const ROUTE: Shape = reference!(&["ApisixRoute"]);
const UPSTREAM: Shape = reference!(&["Upstream"], field("namespace", Shape::Text, ""));
const SECONDS: Shape = Shape::Whole(0, i32::MAX as i64);

const PORT: Shape = Shape::Whole(1, 65_535);
const METADATA: Shape = Shape::Fields(&[field("labels", TEXT_MAP, ""), field("annotations", TEXT_MAP, "")], NONE);
const HEADERS: Shape =
    Shape::Fields(&[field("add", TEXT_MAP, ""), field("set", TEXT_MAP, ""), field("remove", TEXTS, "")], NONE);
const FORM: Shape = Shape::Fields(
    &[field("exact", Shape::Text, ""), field("prefix", Shape::Text, ""), field("regex", Shape::Text, "")],
    Need::ExactlyOne(&["exact", "prefix", "regex"]),
);

const PORTS: &[Field] = &[
    field("port", PORT, "The service's port; Flagger requires it."),
    field("portName", Shape::Text, "Its name; http by default."),
    field("targetPort", Shape::PortOrName, "The container's port, or its name."),
    field("portDiscovery", Shape::Flag, ""),
    field("appProtocol", Shape::Text, ""),
    field("headless", Shape::Flag, ""),
    field("trafficDistribution", Shape::Word(&["PreferClose", "PreferSameZone", "PreferSameNode"]), ""),
];
const SERVICES: &[Field] = &[
    field("apex", METADATA, ""),
    field("primary", METADATA, ""),
    field("canary", METADATA, ""),
    field("unmanagedMetadata", Shape::Fields(&[field("annotations", TEXTS, ""), field("labels", TEXTS, "")], NONE), ""),
];

const BACKEND: &[Field] = &[
    field("group", Shape::Text, ""),
    field("kind", Shape::Text, ""),
    required("name", Shape::Text, ""),
    field("namespace", Shape::Text, ""),
    field("port", PORT, ""),
];

const MESH: &[Field] = &[
    field("gateways", TEXTS, ""),
    field(
        "gatewayRefs",
        Shape::List(
            &Shape::Fields(
                &[
                    field("group", Shape::Text, ""),
                    field("kind", Shape::Text, ""),
                    required("name", Shape::Text, ""),
                    field("namespace", Shape::Text, ""),
                    field("sectionName", Shape::Text, ""),
                    field("port", PORT, ""),
                ],
                NONE,
            ),
            32,
        ),
        "",
    ),
    field("delegation", Shape::Flag, ""),
    field("meshName", Shape::Text, ""),
    field("backends", TEXTS, ""),
];

const ROUTES: &[Field] = &[
    field(
        "rewrite",
        Shape::Fields(
            &[
                field("uri", Shape::Text, ""),
                field("authority", Shape::Text, ""),
                field("type", Shape::Word(&["ReplacePrefixMatch", "ReplaceFullPath"]), ""),
            ],
            NONE,
        ),
        "",
    ),
    field(
        "retries",
        Shape::Fields(
            &[field("attempts", COUNT, ""), field("perTryTimeout", Shape::Span, ""), field("retryOn", Shape::Text, "")],
            NONE,
        ),
        "",
    ),
    field("headers", Shape::Fields(&[field("request", HEADERS, ""), field("response", HEADERS, "")], NONE), ""),
    field(
        "corsPolicy",
        Shape::Fields(
            &[
                field("allowCredentials", Shape::Flag, ""),
                field("allowHeaders", TEXTS, ""),
                field("allowMethods", TEXTS, ""),
                field("allowOrigin", TEXTS, ""),
                field("allowOrigins", Shape::List(&FORM, 256), ""),
                field("exposeHeaders", TEXTS, ""),
                field("maxAge", Shape::Span, ""),
            ],
            NONE,
        ),
        "",
    ),
    field("trafficPolicy", Shape::Keyed(&Shape::Any), "Istio's; not read."),
    field("timeout", Shape::Span, ""),
    field("backendTimeout", Shape::Span, ""),
    field(
        "mirror",
        Shape::List(&Shape::Fields(&[required("backendRef", Shape::Fields(BACKEND, NONE), "")], NONE), 256),
        "",
    ),
];

/// One item of `service.match`; only `uri.prefix` is acted on, and what else bounds the scope holds the release.
pub(crate) const MATCH: Shape = Shape::Fields(
    &[
        field("name", Shape::Text, ""),
        field("uri", FORM, "A prefix bounds the scope; other forms hold the release."),
        field("authority", FORM, ""),
        field("method", FORM, ""),
        field("scheme", FORM, ""),
        field("headers", Shape::Keyed(&FORM), ""),
        field("withoutHeaders", Shape::Keyed(&FORM), ""),
        field("queryParams", Shape::Keyed(&FORM), ""),
        field("gateways", TEXTS, ""),
        field("ignoreUriCase", Shape::Flag, ""),
        field("port", PORT, ""),
        field("sourceLabels", TEXT_MAP, ""),
        field("sourceNamespace", Shape::Text, ""),
    ],
    NONE,
);

/// Groups of `service`'s fields, each with the reason of its warning.
pub(crate) const SERVICE: &[(&[Field], &str)] = &[
    (
        PORTS,
        "describes Kubernetes services, and a standalone agent makes none; the proxy's own configuration holds the ports",
    ),
    (SERVICES, "describes the metadata of Kubernetes services, and a standalone agent makes none"),
    (MESH, "is not acted on: no mesh object is written"),
    (ROUTES, "is not acted on: no route is written; keep it in the proxy's own routes"),
];

/// Groups of the specification's fields, each with the reason of its warning.
pub(crate) const SPEC: &[(&[Field], &str)] = &[
    (&[field("autoscalerRef", AUTOSCALER, "Not acted on.")], "is not acted on: a standalone agent scales nothing"),
    (
        &[field("upstreamRef", UPSTREAM, "Not acted on.")],
        "is not acted on: no object of an ingress or gateway is rewritten",
    ),
    (
        &[field("progressDeadlineSeconds", SECONDS, "Not acted on: no pods are seen.")],
        "is not acted on: a standalone agent sees no pods; a release without traffic holds, and serin.dev's \
         analysis.deadlines bound each phase",
    ),
];

/// The provider, and objects whose names queries may use; their routes are not rewritten.
pub(crate) const NAMED: &[Field] = &[
    field("provider", Shape::Word(PROVIDERS), "Whose routes Flagger rewrites: Serin reads match as that one does."),
    field("ingressRef", INGRESS, "Its name is {{ ingress }} in queries; not acted on."),
    field("routeRef", ROUTE, "Its name is {{ route }} in queries; not acted on."),
];

/// Groups of the analysis' fields, each with the reason of its warning.
pub(crate) const ANALYSIS: &[(&[Field], &str)] = &[(
    &[
        field("primaryReadyThreshold", Shape::Percent, "Not acted on: no pods are seen."),
        field("canaryReadyThreshold", Shape::Percent, "Not acted on: no pods are seen."),
    ],
    "is not acted on: a standalone agent sees no pods; a version that is not ready fails its requests and is judged by them",
)];
