//! A repository in the mount.

use crate::sandbox::{Sandbox, require};

#[test]
fn a_repository_grows_and_is_packed() {
    require("git");
    let sandbox = Sandbox::mounted();
    sandbox.sh(r#"
        git init -q repository
        cd repository
        git config user.name Ada
        git config user.email ada@example.org
        for i in $(seq 50); do
            echo $i >> counter
            mkdir -p d$((i % 7))
            head -c $((i * 97)) /dev/urandom > d$((i % 7))/f$((i % 23))
            git add -A
            git commit -qm "commit $i"
        done
        git fsck --full --strict
        git branch side HEAD~10
        git checkout -q side
        git checkout -q -
        git gc -q --prune=now
        git fsck --full --strict
        "#);
    sandbox.crash();
    sandbox.sh(r#"
        cd repository
        git fsck --full --strict
        [ -z "$(git status --porcelain)" ]
        [ "$(git rev-list --count HEAD)" = 50 ]
        [ "$(tail -n 1 counter)" = 50 ]
        git clone -q . "$OUT/clone"
        "#);
}
