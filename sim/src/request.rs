//! What a simulated request looks like to the filter: inside the plan's scope, with its user's key where the plan needs one.

use rollout::release::plan::Plan;
use rollout::routing::request::Request;
use rollout::routing::table::StickyKey;

use crate::attacker::CHOICE;

/// Who sends a request, as far as its headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    /// Whose it is.
    pub(crate) user: u32,
    /// Whether it carries that user's key.
    pub(crate) has_key: bool,
    /// Whether it carries [`CHOICE`].
    pub(crate) chooses: bool,
}

/// The form of all requests of one scenario. It keeps its buffer, since a request is made for every arrival.
#[derive(Debug)]
pub(crate) struct Form {
    authority: Vec<u8>,
    path: Vec<u8>,
    key: Option<StickyKey>,
    /// The user's key as it stands in the header, cookie or address.
    text: Vec<u8>,
}

impl Form {
    pub(crate) fn new(plan: &Plan) -> Self {
        let host = plan.scope.hosts.first().map_or("any", String::as_str);
        // `*` and `*.suffix` stand for many names; this is one of them.
        let authority = host.replace('*', "any").into_bytes();
        Self {
            authority,
            path: plan.scope.path_prefixes.first().map_or_else(Vec::new, |prefix| prefix.clone().into_bytes()),
            key: plan.sticky.clone(),
            text: Vec::new(),
        }
    }

    /// Makes a request and gives it to `look`.
    pub(crate) fn with<T>(&mut self, sender: Sender, look: impl FnOnce(Request<'_>) -> T) -> T {
        let [a, b, c, d] = sender.user.to_be_bytes();
        self.text.clear();
        let mut key_header: Option<&str> = None;
        match self.key.as_ref().filter(|_| sender.has_key) {
            None => {}
            Some(StickyKey::Header(name)) => {
                self.text.extend(digits(sender.user));
                key_header = Some(name);
            }
            // A simulated user has had a cookie for a long time.
            Some(StickyKey::Cookie(_) | StickyKey::IssuedCookie(_)) => {
                let name = self.key.as_ref().and_then(cookie_name).unwrap_or_default();
                self.text.extend(name.bytes());
                self.text.push(b'=');
                self.text.extend(digits(sender.user));
                key_header = Some("cookie");
            }
            Some(StickyKey::ClientAddress) => self.text.extend(format!("10.{}.{c}.{d}", a ^ b).bytes()),
        }
        let mut headers: [(&[u8], &[u8]); 4] =
            [(b":authority", &self.authority), (b":path", &self.path), (b"", b""), (b"", b"")];
        let (choice, of_key) =
            (sender.chooses.then_some((CHOICE.0, CHOICE.1.as_bytes())), key_header.map(|name| (name, &self.text[..])));
        let mut used = 2;
        for (name, value) in choice.into_iter().chain(of_key) {
            if let Some(place) = headers.get_mut(used) {
                *place = (name.as_bytes(), value);
                used += 1;
            }
        }
        let client_address =
            (matches!(self.key, Some(StickyKey::ClientAddress)) && sender.has_key).then_some(&self.text[..]);
        look(Request { headers: headers.get(..used).unwrap_or_default(), client_address })
    }
}

fn cookie_name(key: &StickyKey) -> Option<&str> {
    match key {
        StickyKey::Cookie(name) => Some(name),
        StickyKey::IssuedCookie(cookie) => Some(cookie.name()),
        StickyKey::Header(_) | StickyKey::ClientAddress => None,
    }
}

/// Eight hexadecimal digits.
fn digits(user: u32) -> [u8; 8] {
    let mut text = [b'0'; 8];
    for (place, digit) in text.iter_mut().rev().enumerate() {
        let value = (user >> (4 * place)) as u8 & 15;
        *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
    }
    text
}

#[cfg(test)]
mod tests {
    use rollout::routing::cookie::{CookieSpec, IssuedCookie};

    use super::*;
    use crate::fixture;

    const fn sender(user: u32) -> Sender {
        Sender { user, has_key: true, chooses: false }
    }

    fn key_of(key: &StickyKey, user: u32) -> Vec<u8> {
        let mut form = Form { key: Some(key.clone()), ..Form::new(&fixture::plan()) };
        form.with(sender(user), |request| match key {
            StickyKey::Header(name) => request.first(name).map(<[u8]>::to_vec),
            StickyKey::Cookie(_) | StickyKey::IssuedCookie(_) => {
                request.cookie(cookie_name(key).unwrap()).map(<[u8]>::to_vec)
            }
            StickyKey::ClientAddress => request.client_address.map(<[u8]>::to_vec),
        })
        .unwrap()
    }

    #[test]
    fn a_request_carries_its_users_key() {
        assert_eq!(key_of(&StickyKey::Header("x-user".into()), 0x1a), b"0000001a");
        assert_eq!(key_of(&StickyKey::Cookie("session".into()), 7), b"00000007");
        let issued = IssuedCookie::new(CookieSpec::named("id")).unwrap();
        assert_eq!(key_of(&StickyKey::IssuedCookie(issued), 7), b"00000007");
        assert_eq!(key_of(&StickyKey::ClientAddress, 258), b"10.0.1.2");
    }

    #[test]
    fn who_chooses_says_so_and_may_be_nobody() {
        let mut form = Form { key: Some(StickyKey::Header("x-user".into())), ..Form::new(&fixture::plan()) };
        form.with(Sender { has_key: false, chooses: true, ..sender(7) }, |request| {
            assert_eq!((request.first(CHOICE.0), request.first("x-user")), (Some(CHOICE.1.as_bytes()), None));
        });
    }

    #[test]
    fn a_request_is_in_scope_of_a_pattern() {
        for (host, authority) in [("*", "any"), ("*.example.com", "any.example.com"), ("web", "web")] {
            let plan = fixture::plan();
            let mut spec: rollout::release::plan::Spec = plan.into();
            spec.scope.hosts = vec![host.into()];
            let mut form = Form::new(&Plan::new(spec).unwrap());
            form.with(sender(0), |request| assert_eq!(request.first(":authority"), Some(authority.as_bytes())));
        }
    }
}
