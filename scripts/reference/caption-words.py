"""
Words of captions by coco-caption's tokenizer, and scores of captions cut by it, for test/data/measures.test.ts.
Needs Java.

    pip install pycocoevalcap
    python scripts/reference/caption-words.py
"""

import json
from pathlib import Path

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

texts = """
A man's dog doesn't bark, it sits.
I'm gonna go, but I cannot see; wanna come? Gotta lemme gimme.
Two dogs' bowls and the girls' and boys' toys, James' bike.
The clock reads 10:30, or 5:45.
A 50% off sale sign for $5.00, #2 of 1,000.
At 3 a.m. in the U.S., J. Smith's hat.
Mr. and Mrs. Jones on St. Louis Ave. etc.
No. 7 bus says no.
A 'quoted' word, 'the big' dog and "it's" here; he said 'hi there'.
A black & white t-shirt w/ logo, and/or 1/2 cup.
A cat - two dogs -- one bird...
A black-and-white cat (two) [red] {cars}
Stop sign!! What?! Wow!
A man in suit.He sits on table.The cat
red,blue and green
the '80s, the 1950s, 80's car
rock 'n' roll and rock'n'roll
Five o'clock, O'Brien
They've seen you're, we'll, he'd; can't won't ain't shouldn't've
It\u2019s a \u2018single\u2019 and \u201cdouble\u201d quote, don\u2019t
semi;colon: dash\u2014em \u2013en ellipsis\u2026end
Caf\u00e9 na\u00efve \u00fcber-cool l'\u00e9cole
Eine Frau f\u00e4hrt Rad.
\u043f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440.
\u8c93,\u72d7
Coca-Cola\u00ae at 45\u00b0 for \u20ac5 or \u00a36
email me@x.com or http://www.example.com/a?b=c.
#tag @user a_b salt&pepper a+b a*b a=b
10am 10 a.m. 1st, 2nd 7-Eleven 4x4 3D mp3
6'2" man, 20" tv, 5' tall, -5 degrees, 10-20 people
an A. plan b.
's n't
""".strip().splitlines()

words = PTBTokenizer().tokenize({i: [{"caption": text}] for i, text in enumerate(texts)})

references = [
    ["A man's dog sits on the table.", "The dogs' owner can't see it.", "A dog (brown) sits!"],
    ["It's 10:30 on the clock.", "A clock at half past ten a.m."],
    ["Two girls' bikes, red and blue.", "Bikes of two girls."],
]
candidates = ["A man's dog can't sit.", "The clock says 10:30 a.m.", "two girls' red bikes"]
cut = lambda rows: PTBTokenizer().tokenize({i: [{"caption": c} for c in row] for i, row in enumerate(rows)})
gts, res = cut(references), cut([[c] for c in candidates])
bleu, _ = Bleu(4).compute_score(gts, res, verbose=0)
cider, _ = Cider().compute_score(gts, res)

out = {
    "words": [[text, words[i][0]] for i, text in enumerate(texts)],
    "samples": [{"candidate": c, "references": r} for c, r in zip(candidates, references)],
    "bleu": bleu,
    "cider": float(cider),
}
path = Path(__file__).parents[2] / "test/fixtures/caption-words.json"
path.write_text(json.dumps(out, indent=1, ensure_ascii=False) + "\n")
print(path, path.stat().st_size)
