//! `serin simulate`: what would a release under this manifest do to its users, here and under other tools' rules?

mod options;

mod situation;

mod progress;

mod parallel;

mod summary;

mod page;

use manifest::{self, Document};
use rollout::release::plan::{Plan, Spec};

use crate::failure::{self, Failure};
use crate::{output, text, validate};

pub(crate) use options::{EXAMPLES, SimulateArgs};

/// `serin simulate`; the exit code.
pub(crate) fn run(args: &SimulateArgs) -> Result<u8, Failure> {
    let plan = plan(args)?;
    for unsupported in &plan.unsupported {
        let line = format!("note: {}: {}; taken as accepted here", unsupported.field, unsupported.what);
        output::remark(&text::clean(&line));
    }
    let situation = situation::Situation::new(args, without_copies(plan))?;
    let results = parallel::play(&situation, args.runs, args.seed);
    let summary = summary::Summary::new(args, &situation, &results);
    if args.runs.is_none() && summary.runs < parallel::USUAL_RUNS {
        let (runs, usual) = (summary.runs, parallel::USUAL_RUNS);
        output::remark(&format!("note: {runs} runs instead of {usual}, since each is long; --runs {usual} plays all"));
    }
    let page = if args.output.is_json() { output::json(&summary, true)? } else { page::page(&summary) };
    output::print(&page)?;
    Ok(failure::OK)
}

/// The simulator sends no copies, and a step of copies alone would never end.
fn without_copies(plan: Plan) -> Plan {
    if plan.course.mirror.is_none() {
        return plan;
    }
    output::remark("note: spec.analysis.mirror: copies of requests are not simulated; played without that step");
    let mut spec = Spec::from(plan.clone());
    spec.course.mirror = None;
    Plan::new(spec).unwrap_or(plan)
}

/// The one Canary of the file, or the one of that name.
fn plan(args: &SimulateArgs) -> Result<Plan, Failure> {
    let file = text::clean(&args.file.display().to_string());
    let loaded = [validate::load(&args.file)?];
    let report = manifest::report(&loaded, true);
    if report.refused > 0 {
        let why: Vec<String> =
            report.lines.iter().filter(|line| line.contains("refused: ")).map(|l| text::clean(l)).collect();
        return Err(Failure::Refused(format!("{file} is not right:\n  {}", why.join("\n  "))));
    }
    let [loaded] = loaded;
    let named = |plan: &&&Plan| match &args.canary {
        Some(wanted) => *wanted == plan.id.to_string() || wanted == plan.id.name(),
        None => true,
    };
    let plans: Vec<&Plan> = loaded.documents.iter().flat_map(Document::plans).collect();
    let names = || plans.iter().map(|plan| text::clean(plan.id.as_str())).collect::<Vec<_>>().join(", ");
    let mut wanted = plans.iter().filter(named);
    match (wanted.next(), wanted.next(), &args.canary) {
        (Some(plan), None, _) => Ok((**plan).clone()),
        (None, _, None) => Err(Failure::Refused(format!("{file} holds no Canary"))),
        (None, _, Some(name)) => {
            Err(Failure::NotFound(format!("{file} holds no Canary {}; it has {}", text::clean(name), names())))
        }
        (Some(_), Some(_), _) => {
            Err(Failure::Usage(format!("{file} holds several Canaries; name one of them: {}", names())))
        }
    }
}
