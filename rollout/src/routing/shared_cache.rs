//! Which answers a cache shared by many users may keep (RFC 9111): with a cookie in one, everybody would be one user.
//!
//! A cache does not leave an answer out because it sets a cookie (section 7.3), and `Vary: Cookie` does not help: all who
//! are new have the same, none. Where an answer contradicts itself it counts as one that is meant to be kept: to leave the
//! cookie off is always safe, its user gets one with another answer. Allocates nothing, whatever the upstream wrote.

/// What a shared cache may do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SharedCaching {
    /// It must not keep it.
    Forbidden,
    /// It may keep it by its own rules, although the upstream asked for nothing of the kind; `cache-control: private`
    /// added to the answer forbids it.
    Unstated,
    /// The upstream wants it kept, or says that it may be.
    Invited,
}

/// Decides by the headers of an answer; names are in lower case.
pub fn shared_caching(headers: &[(&[u8], &[u8])]) -> SharedCaching {
    let all = |wanted: &'static [u8]| headers.iter().filter(move |(name, _)| *name == wanted).map(|(_, value)| *value);
    // What speaks to one kind of cache rules there over Cache-Control, and `private` beside it would not be heard.
    let is_targeted =
        headers.iter().any(|(name, value)| is_targeted(name) && !Directives::default().and(value).forbid());
    let mut said = Directives::default();
    all(b"cache-control").for_each(|value| said = said.and(value));
    let date = all(b"date").next().and_then(seconds_of);
    let mut expires = all(b"expires");
    let is_fresh = said.implies_keeping || said.max_age == Some(true) || {
        // An age rules over Expires.
        said.max_age.is_none() && expires.any(|value| is_after(value, date))
    };
    if is_targeted || said.is_broken || said.is_public {
        SharedCaching::Invited
    } else if said.forbid() {
        SharedCaching::Forbidden
    } else if is_fresh {
        SharedCaching::Invited
    } else if said.max_age.is_some() || all(b"expires").next().is_some() || is_kept_unasked(all(b":status").next()) {
        SharedCaching::Unstated
    } else {
        SharedCaching::Forbidden
    }
}

/// Headers that address one kind of shared cache: RFC 9213 and its makers' own names, Surrogate-Control, nginx's.
fn is_targeted(name: &[u8]) -> bool {
    name.ends_with(b"cdn-cache-control") || name == b"surrogate-control" || name == b"x-accel-expires"
}

/// Statuses that a cache may keep although nothing is said (RFC 9110, section 15.1); without a status it may be any.
fn is_kept_unasked(status: Option<&[u8]>) -> bool {
    const KEPT: [&[u8]; 12] =
        [b"200", b"203", b"204", b"206", b"300", b"301", b"308", b"404", b"405", b"410", b"414", b"501"];
    status.is_none_or(|status| KEPT.contains(&status))
}

/// What the lines of one field say together.
#[derive(Clone, Copy, Default)]
struct Directives {
    /// `public` or `s-maxage`: they address shared caches.
    is_public: bool,
    /// `immutable` and the like, which only make sense for what is kept.
    implies_keeping: bool,
    is_private: bool,
    is_no_store: bool,
    /// A cache that understands the status is to ignore `no-store` then.
    is_must_understand: bool,
    /// Whether any `max-age` is above zero.
    max_age: Option<bool>,
    /// Caches may read it in different ways.
    is_broken: bool,
}

impl Directives {
    /// With a further line.
    fn and(mut self, line: &[u8]) -> Self {
        let mut rest = line;
        while !rest.is_empty() {
            let Some((directive, after)) = split_unquoted(rest) else {
                self.is_broken = true;
                return self;
            };
            self.note(directive.trim_ascii());
            rest = after;
        }
        self
    }

    fn note(&mut self, directive: &[u8]) {
        let at = directive.iter().position(|byte| *byte == b'=');
        let (name, value) = at.map_or((directive, None), |at| {
            let (name, value) = directive.split_at(at);
            (name.trim_ascii_end(), value.get(1..))
        });
        let is = |known: &[&str]| known.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        if is(&["public", "s-maxage"]) {
            self.is_public = true;
        } else if is(&["immutable", "stale-while-revalidate", "stale-if-error"]) {
            self.implies_keeping = true;
        } else if is(&["private"]) {
            // With a list of fields it forbids no more than those, and many caches take it for something else.
            (self.is_private, self.is_broken) = (value.is_none(), self.is_broken || value.is_some());
        } else if is(&["no-store"]) {
            self.is_no_store = true;
        } else if is(&["must-understand"]) {
            self.is_must_understand = true;
        } else if is(&["max-age"]) {
            let is_above_zero = value.is_some_and(|value| value.iter().any(|byte| (b'1'..=b'9').contains(byte)));
            self.max_age = Some(is_above_zero || self.max_age == Some(true));
        }
    }

    /// Whether no shared cache may keep the answer.
    const fn forbid(self) -> bool {
        let is_forbidden = self.is_private || (self.is_no_store && !self.is_must_understand);
        is_forbidden && !self.is_public && !self.is_broken
    }
}

/// Up to the next comma outside of quotes, and what follows it; `None` where a quote does not end.
fn split_unquoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => {
                let (directive, rest) = text.split_at(at);
                return Some((directive, rest.get(1..)?));
            }
            _ => {}
        }
    }
    (!is_quoted).then_some((text, &[]))
}

/// Whether an Expires is after the answer's own date. What is no date at all, `0` above all, is over; a date that cannot be
/// compared may not be.
fn is_after(expires: &[u8], date: Option<u64>) -> bool {
    match (seconds_of(expires), date) {
        (Some(expires), Some(date)) => expires > date,
        // The epoch and what is near it is a way to say "over" that needs no clock.
        (Some(expires), None) => expires > 400_000_000,
        (None, _) => expires.first().is_some_and(u8::is_ascii_alphabetic),
    }
}

/// An IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT`, as a number that grows with time: months count as 31 days.
fn seconds_of(date: &[u8]) -> Option<u64> {
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let date: &[u8; 29] = date.trim_ascii().try_into().ok()?;
    let number = |from: usize, to: usize| {
        let digits = date.get(from..to)?;
        digits
            .iter()
            .try_fold(0_u64, |sum, digit| Some(sum * 10 + u64::from(digit.checked_sub(b'0').filter(|d| *d < 10)?)))
    };
    let month = MONTHS.iter().position(|month| date.get(8..11) == Some(*month))? as u64;
    let days = (number(12, 16)?.checked_sub(1970)? * 12 + month) * 31 + number(5, 7)?;
    let minutes = (days * 24 + number(17, 19)?) * 60 + number(20, 22)?;
    date.ends_with(b" GMT").then_some(minutes * 60 + number(23, 25)?)
}

#[cfg(test)]
mod tests;
