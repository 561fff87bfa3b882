//! The filesystem against a plain reference: the same random operations on both, the same answers, and after every
//! step the same tree.
//!
//! `PROPTEST_CASES` and the other variables of proptest override what is set here. A failing case is written to
//! `tests/model/failures.txt` and tried first from then on.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "model/compare.rs"]
mod compare;
#[path = "model/files.rs"]
mod files;
#[path = "model/harness.rs"]
mod harness;
#[path = "model/names.rs"]
mod names;
#[path = "model/operation.rs"]
mod operation;
#[path = "model/reference.rs"]
mod reference;
#[path = "model/snapshots.rs"]
mod snapshots;
#[path = "model/steps.rs"]
mod steps;

use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestCaseError};

use harness::World;
use operation::{Operation, Setup, operations, setup};

fn config() -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 300;
    }
    config.failure_persistence = Some(Box::new(FileFailurePersistence::Direct("tests/model/failures.txt")));
    config
}

fn run(setup: Setup, operations: &[Operation]) -> Result<(), TestCaseError> {
    let mut world = World::new(setup);
    for (number, operation) in operations.iter().enumerate() {
        let step = world.step(operation);
        step.map_err(|what| TestCaseError::fail(format!("step {number}, {operation:?}: {what}")))?;
    }
    world.reopen().map_err(|what| TestCaseError::fail(format!("the last reopen: {what}")))?;
    world.compare_snapshots().map_err(TestCaseError::fail)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_filesystem_does_what_the_reference_does(setup in setup(), operations in operations()) {
        run(setup, &operations)?;
    }
}
