//! Which canary is meant: what was typed becomes an id, and an unknown name a suggestion.

use manifest::alike;
use rollout::base::names::CanaryId;
use rollout::view::status::CanaryStatus;

use crate::args::CanaryArgs;
use crate::client::{Client, Listing};
use crate::failure::Failure;
use crate::text;

/// Namespace of a name that no canary has, as in Kubernetes.
const DEFAULT_NAMESPACE: &str = "default";
/// Most names that are suggested.
const MAX_SUGGESTED: usize = 3;

/// The canary that was typed; a bare name is looked up.
pub(crate) async fn resolve(client: &Client, args: &CanaryArgs) -> Result<CanaryId, Failure> {
    if let Some(id) = typed(&args.canary, args.namespace.as_deref())? {
        return Ok(id);
    }
    let known = known(client).await?;
    match choose(&args.canary, &known) {
        Choice::One(id) => Ok(id),
        Choice::None => Err(not_known(&id(DEFAULT_NAMESPACE, &args.canary)?, &known)),
        Choice::Several(ids) => Err(Failure::Usage(format!(
            "{} is the name of several canaries: {}; write NAMESPACE/NAME or give -n",
            args.canary,
            ids.join(", ")
        ))),
    }
}

/// A canary that the agent has.
#[derive(Clone, Debug)]
struct Known {
    id: CanaryId,
    /// The name that it shares with other versions.
    service: Option<String>,
}

impl Known {
    fn is_version_of(&self, id: &CanaryId) -> bool {
        self.id.namespace() == id.namespace() && self.service.as_deref() == Some(id.name())
    }
}

/// Puts a suggestion into the agent's "not found".
pub(crate) async fn explain<T>(client: &Client, id: &CanaryId, result: Result<T, Failure>) -> Result<T, Failure> {
    match result {
        Err(Failure::NotFound(said)) => {
            let known = known(client).await?;
            // A canary that is there lacks something else: the agent said what.
            if known.iter().any(|known| known.id == *id) {
                Err(Failure::Refused(said))
            } else {
                Err(not_known(id, &known))
            }
        }
        other => other,
    }
}

enum Choice {
    One(CanaryId),
    None,
    Several(Vec<String>),
}

fn typed(canary: &str, namespace: Option<&str>) -> Result<Option<CanaryId>, Failure> {
    match (canary.split_once('/'), namespace) {
        (Some((own, _)), Some(other)) if own != other => Err(Failure::Usage(format!(
            "{} is in namespace {}, but -n says {}; drop one of them",
            text::quoted(canary),
            text::quoted(own),
            text::quoted(other)
        ))),
        (Some((_, name)), _) if name.contains('/') => {
            Err(Failure::Usage(format!("canary {}: write NAME or NAMESPACE/NAME", text::quoted(canary))))
        }
        (Some((own, name)), _) => id(own, name).map(Some),
        (None, Some(namespace)) => id(namespace, canary).map(Some),
        // A bare name must be one all the same.
        (None, None) => id(DEFAULT_NAMESPACE, canary).map(|_| None),
    }
}

fn id(namespace: &str, name: &str) -> Result<CanaryId, Failure> {
    CanaryId::new(namespace, name).map_err(|error| {
        let given = text::quoted(&format!("{namespace}/{name}"));
        Failure::Usage(format!("canary {given}: the name {error}"))
    })
}

async fn known(client: &Client) -> Result<Vec<Known>, Failure> {
    let list: Listing = client.canaries().await?.shown()?;
    let known = |canary: CanaryStatus| {
        Some(Known { id: CanaryId::new(&canary.namespace, &canary.name).ok()?, service: canary.service })
    };
    Ok(list.items.into_iter().filter_map(known).collect())
}

fn choose(name: &str, known: &[Known]) -> Choice {
    let ids = |is_meant: &dyn Fn(&Known) -> bool| -> Vec<&CanaryId> {
        known.iter().filter(|known| is_meant(known)).map(|known| &known.id).collect()
    };
    let mut same = ids(&|known| known.id.name() == name);
    if same.is_empty() {
        // Several versions have a name in common that is none of theirs; its namespace can be found all the same.
        let mut versions = ids(&|known| known.service.as_deref() == Some(name));
        versions.dedup_by_key(|id| id.namespace());
        return match versions.as_slice() {
            [only] => CanaryId::new(only.namespace(), name).map_or(Choice::None, Choice::One),
            _ => Choice::None,
        };
    }
    match (same.pop(), same.as_slice()) {
        (None, _) => Choice::None,
        (Some(only), []) => Choice::One(only.clone()),
        (Some(last), others) => {
            let mut ids: Vec<String> = others.iter().map(ToString::to_string).collect();
            ids.push(last.to_string());
            Choice::Several(ids)
        }
    }
}

fn not_known(id: &CanaryId, known: &[Known]) -> Failure {
    let versions = known.iter().filter(|known| known.is_version_of(id));
    let versions: Vec<String> = versions.map(|known| known.id.to_string()).collect();
    if !versions.is_empty() {
        return Failure::NotFound(format!("canary {id} has several versions; name one: {}", versions.join(", ")));
    }
    // By name alone: the right name in another namespace is the likeliest slip of all.
    let alike = alike(id.name(), known.iter().map(|known| (known.id.name(), &known.id)));
    let shown: Vec<String> = alike.into_iter().take(MAX_SUGGESTED).map(ToString::to_string).collect();
    let next = if known.is_empty() {
        "the agent has none yet: put a Canary manifest into its --canaries directory".into()
    } else if shown.is_empty() {
        "`serin get` lists those that are known".into()
    } else {
        format!("did you mean {}?", shown.join(" or "))
    };
    Failure::NotFound(format!("canary {id} is not known; {next}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(texts: &[&str]) -> Vec<Known> {
        texts.iter().map(|text| Known { id: CanaryId::parse(text).unwrap(), service: None }).collect()
    }

    fn versions(texts: &[&str]) -> Vec<Known> {
        let versions = ids(texts).into_iter();
        versions.map(|known| Known { service: Some("web".into()), ..known }).collect()
    }

    #[test]
    fn what_is_typed_says_as_much_as_it_does() {
        let typed = |canary, namespace| {
            typed(canary, namespace).map(|id| id.map(|id| id.to_string())).map_err(|failure| failure.exit_code())
        };
        assert_eq!(typed("prod/web", None), Ok(Some("prod/web".into())));
        assert_eq!(typed("prod/web", Some("prod")), Ok(Some("prod/web".into())));
        assert_eq!(typed("web", Some("prod")), Ok(Some("prod/web".into())));
        assert_eq!(typed("web", None), Ok(None));
        for (canary, namespace) in
            [("prod/web", Some("test")), ("", None), ("a/b/c", None), ("web\u{1b}", None), ("/web", None)]
        {
            assert_eq!(typed(canary, namespace), Err(crate::failure::USAGE), "{canary:?}");
        }
    }

    #[test]
    fn a_bare_name_is_taken_only_if_it_can_mean_one_thing() {
        let known = ids(&["default/web", "prod/api", "prod/web"]);
        assert!(matches!(choose("api", &known), Choice::One(id) if id.as_str() == "prod/api"));
        assert!(matches!(choose("shop", &known), Choice::None));
        let Choice::Several(ids) = choose("web", &known) else {
            panic!("web is ambiguous");
        };
        assert_eq!(ids, ["default/web", "prod/web"]);
    }

    #[test]
    fn the_name_that_versions_share_finds_their_namespace() {
        let known = [versions(&["prod/web.blue", "prod/web.green"]), ids(&["prod/web.api", "test/website"])].concat();
        assert!(matches!(choose("web", &known), Choice::One(id) if id.as_str() == "prod/web"));
        assert!(matches!(choose("web", &versions(&["prod/web.blue", "test/web.blue"])), Choice::None));
        assert!(matches!(choose("web", &ids(&["prod/web.api"])), Choice::None), "a dot alone makes no version");
        let said = not_known(&CanaryId::parse("prod/web").unwrap(), &known).to_string();
        assert_eq!(said, "canary prod/web has several versions; name one: prod/web.blue, prod/web.green");
    }

    #[test]
    fn an_unknown_name_gets_the_nearest_known_one() {
        let known = ids(&["prod/api", "prod/web", "shop/checkout"]);
        let said = |id: &str, known: &[Known]| not_known(&CanaryId::parse(id).unwrap(), known).to_string();
        assert_eq!(said("default/chekout", &known), "canary default/chekout is not known; did you mean shop/checkout?");
        assert_eq!(said("default/web", &known), "canary default/web is not known; did you mean prod/web?");
        assert!(said("x/zzz", &known).ends_with("`serin get` lists those that are known"));
        assert!(said("x/zzz", &[]).ends_with("--canaries directory"));
    }
}
