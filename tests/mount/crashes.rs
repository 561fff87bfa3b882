//! kill -9 of the daemon, and what the next one finds. Of kills while others write, `tests/faults.rs`.

use crate::sandbox::Sandbox;

#[test]
fn changes_of_names_survive_kill_nine() {
    let sandbox = Sandbox::mounted();
    let script = r#"
        mkdir -p a/b/c; echo 1 > a/one; echo 2 > a/two; ln a/one a/b/hard; ln -s one a/soft
        mv a/two a/b/c/; mv a/b A; rm a/one; chmod 751 A; touch -h -d @1234567.000000089 a/soft
        setfattr -n user.k -v v A/hard; truncate -s 1 A/hard; mkdir gone; rmdir gone
    "#;
    sandbox.sh(script);
    sandbox.crash();
    sandbox.sh(r#"
        [ "$(find . | sort)" = $'.\n./A\n./A/c\n./A/c/two\n./A/hard\n./a\n./a/soft' ]
        [ "$(cat A/hard A/c/two)" = 12 ] && [ "$(stat -c '%a %h' A/hard)" = '644 1' ] && [ "$(stat -c %a A)" = 751 ]
        [ "$(find a/soft -printf '%T@')" = 1234567.0000000890 ]
        [ "$(getfattr --only-values -n user.k A/hard)" = v ]
        "#);
}
