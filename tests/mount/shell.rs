//! Everyday commands.

use std::fs;

use crate::sandbox::{Sandbox, require};

#[test]
fn a_key_is_a_file() {
    let sandbox = Sandbox::mounted();
    sandbox.sh(r#"
        echo hello > key
        [ "$(cat key)" = hello ]
        echo again >> key
        [ "$(wc -l < key)" = 2 ]
        mkdir -p users/of/old
        echo Ada > users/of/old/42
        [ "$(ls)" = $'key\nusers' ]
        [ "$(ls users/of/old)" = 42 ]
        mv key users/moved
        [ ! -e key ] && [ "$(head -n 1 users/moved)" = hello ]
        mv users people
        [ "$(cat people/of/old/42)" = Ada ]
        rm people/moved
        [ ! -e people/moved ]
        ! rmdir people 2> "$OUT/said"
        grep -q 'not empty' "$OUT/said"
        rm -r people
        [ -z "$(ls -A)" ]
        "#);
}

#[test]
fn keys_outlive_the_mount() {
    let sandbox = Sandbox::mounted();
    sandbox.sh("mkdir d; echo v > d/k; ln -s d/k link; chmod 600 d/k; : > empty; printf 'no newline' > bare");
    sandbox.remount();
    sandbox.sh(r#"
        [ "$(cat link)" = v ] && [ "$(stat -c %a d/k)" = 600 ] && [ "$(cat bare)" = 'no newline' ]
        [ -e empty ] && [ ! -s empty ]
        "#);
}

/// `echo v > key` closes a copy of the descriptor, and so sends a FLUSH, before it writes: nothing may be committed then.
#[test]
fn a_flush_before_the_data_does_not_publish_an_empty_value() {
    let sandbox = Sandbox::mounted();
    sandbox.sh("sh -c 'echo old > key'; sh -c 'echo new value > key'");
    assert_eq!(fs::read(sandbox.at("key")).unwrap(), b"new value\n");

    // A writer that has closed a copy, and has not written yet: the key has its old value for all who look at the store.
    let mut shell =
        sandbox.shell("exec 5> key; exec 6>&5; exec 6>&-; : > \"$OUT/ready\"; sleep 60 5>&5").spawn().unwrap();
    sandbox.wait("the shell", || sandbox.outside("ready").exists());
    assert_eq!(sandbox.caskfs("get", &["key"]).stdout, b"new value\n");
    sandbox.kill();
    shell.kill().unwrap();
    shell.wait().unwrap();
    sandbox.mount();
    assert_eq!(fs::read(sandbox.at("key")).unwrap(), b"new value\n");
}

#[test]
fn editors_keep_what_was_written() {
    require("vim");
    let sandbox = Sandbox::mounted();
    sandbox.sh(r#"
        printf 'one\ntwo\nthree\n' > text
        chmod 640 text
        vim -es -u NONE -c '%s/two/2/' -c wq text
        sed -i 's/three/3/' text
        vim -es -u NONE -c 'set backup writebackup backupcopy=yes' -c '%s/one/1/' -c wq text
        vim -es -u NONE -c 'set backup writebackup backupcopy=no' -c '%s/2/II/' -c wq text
        vim -es -u NONE -c 'call setline(1, "fresh")' -c wq made
        [ "$(cat text)" = $'1\nII\n3' ] && [ "$(cat made)" = fresh ]
        [ "$(stat -c %a text)" = 640 ]
        [ -z "$(find . -name '*.sw?')" ]
        "#);
    sandbox.crash();
    sandbox.sh(r#"[ "$(cat text)" = $'1\nII\n3' ] && [ "$(cat made)" = fresh ]"#);
}

/// The same commands leave the same behind in a plain directory and in the mount.
#[test]
fn copying_tools_do_what_they_do_elsewhere() {
    let sandbox = Sandbox::mounted();
    let script = r#"
        umask 022
        mkdir work; cd work
        mkdir -p tree/deep/er
        for i in $(seq 60); do echo "$i" > "tree/deep/f$i"; done
        ln -s deep/f1 tree/link; ln -s nowhere tree/dangling
        ln tree/deep/f2 tree/hard
        mkfifo tree/pipe
        chmod 640 tree/deep/f3; chmod 2755 tree/deep; chmod 1777 tree/deep/er
        touch -d '2001-02-03 04:05:06.789012345' tree/deep/f4
        cp -a tree copy
        mv copy moved
        cp --sparse=always tree/deep/f5 sparse
        tar -cf tree.tar --sort=name --mtime=@0 tree
        mkdir untarred; tar -xpf tree.tar -C untarred
        dd if=/dev/zero of=zeros bs=64k count=33 conv=fsync status=none
        dd if=/dev/zero of=tree/deep/f5 bs=1 seek=5000 count=1 conv=notrunc,fsync status=none
        dd if=tree/deep/f5 of=direct bs=4096 oflag=append conv=notrunc status=none
        truncate -s 1M grown; truncate -s 0 moved/deep/f7; truncate -s +10 tree/deep/f6
        install -m 751 tree/deep/f8 installed
        split -b 20000 zeros part-
        cat part-* | cmp - zeros
        find moved -name 'f*0' -delete
        sort -R tree/deep/f1 -o tree/deep/f1
        # What the clock decides is not compared.
        find . -exec touch -h -d @1000000000.123456789 {} +
    "#;
    sandbox.sh(&format!("cd \"$OUT\"; {script}"));
    sandbox.sh(script);
    let compare = r#"
        list() {
            cd "$1/work"
            find . -printf '%p %y %m %U:%G %l %T@' \( -type d -o -printf ' %s %n' \) -printf '\n' | sort
            find . -type f -print0 | sort -z | xargs -0 md5sum
        }
        diff <(list "$OUT") <(list "$MNT")
    "#;
    sandbox.sh(compare);
    sandbox.remount();
    sandbox.sh(compare);
}
