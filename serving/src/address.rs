//! An address that another process holds: the error of the system does not say what to do.

use std::io::{Error, ErrorKind};

/// What to append to the error of a bind: advice where the address is taken, else nothing.
#[must_use]
pub fn address_hint(error: &Error, server: &str, flag: &str) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => format!("; is another {server} running? Choose another address with {flag}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_taken_address_comes_with_its_flag_and_other_errors_do_not() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = TcpListener::bind(holder.local_addr().unwrap()).unwrap_err();
        let hint = address_hint(&taken, "load tester", "--http");
        assert_eq!(hint, "; is another load tester running? Choose another address with --http");
        assert_eq!(address_hint(&Error::from(ErrorKind::PermissionDenied), "agent", "--grpc"), "");
    }
}
