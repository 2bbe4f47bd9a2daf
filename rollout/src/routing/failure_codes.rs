//! Which statuses are failures, as a canary's manifest may set them.
//!
//! By default every HTTP status from 500 on, and gRPC's UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and
//! DATA_LOSS. A service may answer 501 to what a client made up, and mean RESOURCE_EXHAUSTED as an error of its own.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The HTTP statuses that are failures unless a manifest leaves them out.
pub const HTTP_FAILURES: std::ops::RangeInclusive<u16> = 500..=599;
/// Names of gRPC's statuses, by number.
pub const GRPC_NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Statuses that are failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Stated", into = "Stated")]
pub struct FailureCodes {
    /// Bit n: status 500 + n is no failure.
    http_except: u128,
    /// Bit n: gRPC status n is one.
    grpc: u32,
}

/// The same as lists, in journals.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stated {
    http_except: Vec<u16>,
    grpc: Vec<u32>,
}

/// A status that cannot be set so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FailureCodesError {
    /// Others are no failures anyway.
    #[error("{0} is outside 500 to 599: no other HTTP status is a failure")]
    Http(u16),
    /// 0 is OK, and gRPC has no more.
    #[error("{0} is outside 1 to 16, the statuses of gRPC but OK")]
    Grpc(u32),
}

impl FailureCodes {
    /// What is usual where nothing is said.
    pub const USUAL: Self = Self { http_except: 0, grpc: 1 << 2 | 1 << 4 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 15 };

    /// All HTTP statuses from 500 on but some, and these of gRPC.
    ///
    /// # Errors
    /// At a status outside [`HTTP_FAILURES`], or outside 1 to 16.
    pub fn new(
        http_except: impl IntoIterator<Item = u16>,
        grpc: impl IntoIterator<Item = u32>,
    ) -> Result<Self, FailureCodesError> {
        let mut codes = Self { http_except: 0, grpc: 0 };
        for status in http_except {
            if !HTTP_FAILURES.contains(&status) {
                return Err(FailureCodesError::Http(status));
            }
            codes.http_except |= 1 << (status - HTTP_FAILURES.start());
        }
        for status in grpc {
            if status == 0 || status as usize >= GRPC_NAMES.len() {
                return Err(FailureCodesError::Grpc(status));
            }
            codes.grpc |= 1 << status;
        }
        Ok(codes)
    }

    /// Whether an HTTP status is a failure.
    pub fn is_http_failure(self, status: u16) -> bool {
        HTTP_FAILURES.contains(&status) && self.http_except >> (status - HTTP_FAILURES.start()) & 1 == 0
    }

    /// Whether a gRPC status is a failure.
    pub const fn is_grpc_failure(self, status: u32) -> bool {
        (status as usize) < GRPC_NAMES.len() && self.grpc >> status & 1 == 1
    }

    /// HTTP statuses from 500 on that are no failures.
    pub fn http_except(self) -> impl Iterator<Item = u16> {
        HTTP_FAILURES.filter(move |status| !self.is_http_failure(*status))
    }

    /// gRPC statuses that are failures.
    pub fn grpc(self) -> impl Iterator<Item = u32> {
        (0..GRPC_NAMES.len() as u32).filter(move |status| self.is_grpc_failure(*status))
    }
}

impl Default for FailureCodes {
    fn default() -> Self {
        Self::USUAL
    }
}

impl TryFrom<Stated> for FailureCodes {
    type Error = FailureCodesError;
    fn try_from(stated: Stated) -> Result<Self, FailureCodesError> {
        Self::new(stated.http_except, stated.grpc)
    }
}

impl From<FailureCodes> for Stated {
    fn from(codes: FailureCodes) -> Self {
        Self { http_except: codes.http_except().collect(), grpc: codes.grpc().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_what_counts() {
        let usual = FailureCodes::USUAL;
        assert!((500..=599).all(|status| usual.is_http_failure(status)) && !usual.is_http_failure(499));
        assert_eq!(usual.grpc().collect::<Vec<_>>(), [2, 4, 12, 13, 14, 15]);
        let set = FailureCodes::new([501, 505, 599], [8, 16]).unwrap();
        assert_eq!(set.http_except().collect::<Vec<_>>(), [501, 505, 599]);
        assert!(
            set.is_http_failure(500) && set.is_grpc_failure(8) && set.is_grpc_failure(16) && !set.is_grpc_failure(2)
        );
        let text = serde_json::to_string(&set).unwrap();
        assert_eq!(
            (text.as_str(), serde_json::from_str(&text).ok()),
            (r#"{"httpExcept":[501,505,599],"grpc":[8,16]}"#, Some(set))
        );
    }

    #[test]
    fn other_statuses_are_refused_by_name() {
        for status in [0, 200, 499, 600, u16::MAX] {
            assert_eq!(FailureCodes::new([status], []), Err(FailureCodesError::Http(status)));
        }
        for status in [0, 17, 99, u32::MAX] {
            assert_eq!(FailureCodes::new([], [status]), Err(FailureCodesError::Grpc(status)));
            assert!(!FailureCodes::USUAL.is_grpc_failure(status));
        }
        assert!(serde_json::from_str::<FailureCodes>(r#"{"httpExcept":[404],"grpc":[]}"#).is_err());
    }
}
