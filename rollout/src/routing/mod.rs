//! One request: which version it goes to, and how it ended. Stateless: what is counted and sent is the worker's.

/// Which statuses are failures.
pub mod failure_codes;

/// How one request ended: the one place that says what a failure is.
pub mod outcome;

/// The frames of a gRPC-Web answer.
pub mod grpc_web;

/// What a match rule sees of a request.
pub mod request;

/// The cookie that the filter issues to users without a key.
pub mod cookie;

/// Which answers a cache shared by many users may keep: none of those may carry that cookie.
pub mod shared_cache;

/// The part of a service's traffic in which one of several versions is tried.
pub mod lane;

/// The limits that an entry gives to the worker's fuse.
pub mod fuse_plan;

/// Where a request went, as the proxy names it.
pub mod destination;

/// What counts as a version's own time, and from when on.
pub mod measurement;

/// What a worker needs to route: one entry for each canary, with an epoch of its own.
pub mod table;

/// request -> route.
pub mod route;
