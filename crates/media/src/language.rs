//! Tags of languages (BCP 47), from what containers say: codes of three letters (ISO 639-2), or tags themselves.

/// Codes of two letters (ISO 639-1), each with its code of three as films have it (ISO 639-2/T).
const CODES: &str = "\
    aa=aar ab=abk ae=ave af=afr ak=aka am=amh an=arg ar=ara as=asm av=ava ay=aym az=aze ba=bak be=bel bg=bul bh=bih bi=bis \
    bm=bam bn=ben bo=bod br=bre bs=bos ca=cat ce=che ch=cha co=cos cr=cre cs=ces cu=chu cv=chv cy=cym da=dan de=deu dv=div \
    dz=dzo ee=ewe el=ell en=eng eo=epo es=spa et=est eu=eus fa=fas ff=ful fi=fin fj=fij fo=fao fr=fra fy=fry ga=gle gd=gla \
    gl=glg gn=grn gu=guj gv=glv ha=hau he=heb hi=hin ho=hmo hr=hrv ht=hat hu=hun hy=hye hz=her ia=ina id=ind ie=ile ig=ibo \
    ii=iii ik=ipk io=ido is=isl it=ita iu=iku ja=jpn jv=jav ka=kat kg=kon ki=kik kj=kua kk=kaz kl=kal km=khm kn=kan ko=kor \
    kr=kau ks=kas ku=kur kv=kom kw=cor ky=kir la=lat lb=ltz lg=lug li=lim ln=lin lo=lao lt=lit lu=lub lv=lav mg=mlg mh=mah \
    mi=mri mk=mkd ml=mal mn=mon mr=mar ms=msa mt=mlt my=mya na=nau nb=nob nd=nde ne=nep ng=ndo nl=nld nn=nno no=nor nr=nbl \
    nv=nav ny=nya oc=oci oj=oji om=orm or=ori os=oss pa=pan pi=pli pl=pol ps=pus pt=por qu=que rm=roh rn=run ro=ron ru=rus \
    rw=kin sa=san sc=srd sd=snd se=sme sg=sag si=sin sk=slk sl=slv sm=smo sn=sna so=som sq=sqi sr=srp ss=ssw st=sot su=sun \
    sv=swe sw=swa ta=tam te=tel tg=tgk th=tha ti=tir tk=tuk tl=tgl tn=tsn to=ton tr=tur ts=tso tt=tat tw=twi ty=tah ug=uig \
    uk=ukr ur=urd uz=uzb ve=ven vi=vie vo=vol wa=wln wo=wol xh=xho yi=yid yo=yor za=zha zh=zho zu=zul";
/// The other code of three letters that some languages have (ISO 639-2/B).
const OTHERS: &str = "\
    sq=alb hy=arm eu=baq my=bur zh=chi cs=cze nl=dut fr=fre ka=geo de=ger el=gre is=ice mk=mac mi=mao ms=may fa=per ro=rum \
    sk=slo bo=tib cy=wel";
/// Longest tag, bytes (BCP 47, 4.4.1).
const TAG_MAX: usize = 35;

/// Pairs of a table: two letters, and three.
fn pairs(table: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    table.split_ascii_whitespace().filter_map(|pair| pair.split_once('='))
}

/// What a container says of a language as a tag: `eng` and `en` are `en`, `ger` is `de`, `pt-BR` stays. `None` for what has not the form of
/// a tag, and where the language is said not to be known (`und`). O(languages).
#[must_use]
pub fn tag(said: &str) -> Option<String> {
    let mut parts = said.split('-');
    let is_first = |part: &str| {
        (2..=3).contains(&part.len()) && part.bytes().all(|it| it.is_ascii_alphabetic())
    };
    let is_more = |part: &str| {
        (1..=8).contains(&part.len()) && part.bytes().all(|it| it.is_ascii_alphanumeric())
    };
    let first = parts.next().filter(|first| is_first(first))?;
    if said.len() > TAG_MAX || !parts.all(is_more) {
        return None;
    }
    let first_small = first.to_ascii_lowercase();
    let short = pairs(CODES).chain(pairs(OTHERS)).find(|(_, long)| *long == first_small);
    let language = short.map_or(&*first_small, |(short, _)| short);
    let rest = said.get(first.len()..).unwrap_or("");
    (language != "und").then(|| format!("{language}{rest}"))
}

/// The three letters (ISO 639-2/T) of the language of a tag, where it has any. O(languages).
#[must_use]
pub fn letters(tag: &str) -> Option<[u8; 3]> {
    let first = tag.split('-').next().unwrap_or("").to_ascii_lowercase();
    let long = pairs(CODES).find(|(short, _)| *short == first).map(|(_, long)| long);
    let code: [u8; 3] = long.unwrap_or(&first).as_bytes().try_into().ok()?;
    code.iter().all(u8::is_ascii_lowercase).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::{letters, tag};

    #[test]
    fn codes_and_tags_are_tags() {
        for (said, expected) in [
            ("eng", Some("en")),
            ("ENG", Some("en")),
            ("en", Some("en")),
            ("ger", Some("de")),
            ("deu", Some("de")),
            ("fre-CA", Some("fr-CA")),
            ("pt-BR", Some("pt-BR")),
            ("zh-Hant-TW", Some("zh-Hant-TW")),
            ("fil", Some("fil")),
            ("und", None),
            ("", None),
            ("e", None),
            ("english", None),
            ("en\"x", None),
            ("en-", None),
            ("en-aaaaaaaaa", None),
        ] {
            assert_eq!(tag(said).as_deref(), expected, "{said}");
        }
        assert_eq!(tag(&"en-aaaaaaaa".repeat(5)), None);
    }

    #[test]
    fn tags_have_letters() {
        for (tag, expected) in [
            ("en", Some(b"eng")),
            ("de-AT", Some(b"deu")),
            ("fil", Some(b"fil")),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(letters(tag).as_ref(), expected, "{tag}");
        }
    }
}
