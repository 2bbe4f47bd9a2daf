//! `sessionAffinity`: the cookie that keeps users on their version, with Flagger's fields.
//!
//! Flagger's cookie has one value for all users of a release and marks the canary's only; ours is a random id whose hash
//! decides for both sides, so the canary's share stays what the weight says.

use rollout::routing::cookie::{CookieSpec, DEFAULT_MAX_AGE_S, IssuedCookie, SameSite};
use rollout::routing::table::StickyKey;

use crate::fields::values::token;
use crate::reader::shape::{Field, Need, Shape, field, required};
use crate::reader::{Item, Log, Map};

const FIELDS: &[Field] = &[
    required("cookieName", Shape::Token, "The cookie that keeps a user on one version, primary or canary."),
    field("primaryCookieName", Shape::Token, "Not needed: one cookie keeps users on both sides."),
    field("maxAge", Shape::Whole(0, i32::MAX as i64), "In seconds; 86400 by default."),
    field("domain", Shape::Text, ""),
    field("path", Shape::Text, "/ by default."),
    field("httpOnly", Shape::Flag, ""),
    field("partitioned", Shape::Flag, ""),
    field("sameSite", Shape::Word(&["Strict", "Lax", "None"]), ""),
    field("secure", Shape::Flag, ""),
];
/// What it looks like.
pub(crate) const SHAPE: Shape = Shape::Fields(FIELDS, Need::Nothing);

/// Takes the field and returns what keeps users on their version from then on. `chosen` is the key from elsewhere.
pub(crate) fn read(analysis: &mut Map<'_>, chosen: Option<&StickyKey>, log: &mut Log) -> Option<StickyKey> {
    let Some(item) = analysis.take("sessionAffinity", log) else { return chosen.cloned() };
    if chosen.is_some() {
        item.refuse(log, "is given beside a sticky key; keep one of the two");
    }
    cookie(&item, log).map(StickyKey::IssuedCookie).or_else(|| chosen.cloned())
}

fn cookie(item: &Item<'_>, log: &mut Log) -> Option<IssuedCookie> {
    let mut fields = item.map(log)?;
    let name = fields.need("cookieName", log).and_then(|item| token(&item, log));
    primary(&mut fields, name.as_ref(), log);
    let max_age = fields.take("maxAge", log).and_then(|item| item.whole(log, 0, i64::from(i32::MAX)));
    let text = |fields: &mut Map<'_>, key, log: &mut Log| fields.take(key, log).and_then(|item| item.text(log));
    let (domain, path) = (text(&mut fields, "domain", log), text(&mut fields, "path", log));
    let http_only = is_on(&mut fields, "httpOnly", log).is_some();
    let partitioned = is_on(&mut fields, "partitioned", log);
    let secure = is_on(&mut fields, "secure", log).is_some();
    let same_site = fields.take("sameSite", log).and_then(|item| Some((same_site(&item, log)?, item)));
    fields.finish(log, &[]);
    let third_party = same_site.as_ref().filter(|(value, _)| *value == SameSite::None).map(|(_, item)| item);
    for item in partitioned.iter().chain(third_party).filter(|_| !secure) {
        item.warn(log, "makes browsers drop the cookie unless it is also secure: true");
    }
    let spec = CookieSpec {
        name: name?,
        // Flagger takes 0 for not set.
        max_age_s: max_age.and_then(|age| u32::try_from(age).ok()).filter(|age| *age > 0).unwrap_or(DEFAULT_MAX_AGE_S),
        domain: domain.filter(|text| !text.is_empty()),
        path: path.filter(|text| !text.is_empty()).unwrap_or_else(|| "/".into()),
        http_only,
        secure,
        partitioned: partitioned.is_some(),
        same_site: same_site.map(|(value, _)| value),
    };
    IssuedCookie::new(spec).map_err(|error| item.refuse(log, format!("cannot be a cookie: {error}"))).ok()
}

fn is_on<'a>(fields: &mut Map<'a>, key: &'static str, log: &mut Log) -> Option<Item<'a>> {
    fields.take(key, log).filter(|item| item.boolean(log) == Some(true))
}

/// Flagger's second cookie, for those on the primary.
fn primary(fields: &mut Map<'_>, name: Option<&String>, log: &mut Log) {
    let Some(item) = fields.take("primaryCookieName", log) else { return };
    let Some(primary) = token(&item, log) else { return };
    if Some(&primary) == name {
        item.refuse(log, "is also cookieName; the two cookies must have different names");
    } else {
        item.warn(log, "is not needed: the cookie of cookieName keeps users on either version");
    }
}

fn same_site(item: &Item<'_>, log: &mut Log) -> Option<SameSite> {
    let name = item.one_of(log, &SameSite::ALL.map(SameSite::name))?;
    SameSite::ALL.into_iter().find(|value| value.name() == name)
}
