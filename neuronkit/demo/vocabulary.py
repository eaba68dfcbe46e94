"""The texts that the demo renders: common words, numbers, codes and invented words."""

from __future__ import annotations

import numpy as np

MAX_LENGTH = 12
"""Longest text that `sample_text` gives, in characters; about ten of the crop's 128 pixels for each."""

_COMMON = """
a about above account across act add address adult after again age ago agree air airport all almost alone along also
always am amount an and angle animal another answer any apple april apron are area arm around arrive art as ask at
august autumn avenue away baby back bag bagel bake baker bakery balance ball banana bank bar basic basil basket bath
bay be beach bean bear beauty bed beef beer before begin behind bell below belt bench best better between beyond
bicycle big bike bill bird black blend block blue board boat body book booking boot border both bottle bottom bowl box
boy branch bread break breakfast bridge bright bring brown brush build building burger bus business busy but butter
button buy by cabin cable cafe cake call camera camp can candle candy cap car card care carpet carrot carry case cash
cashier castle cat cent center central centre chain chair change charge check cheese chef cherry chicken child chips
chocolate choice church cinema circle city class clean clear clerk clock close closed cloth cloud club coach coast
coat code coffee coin cold color comb come cook cookie cool copper copy corn corner cost cotton count country coupon
cover cream credit cross crown cup curry customer cut cycle daily dairy danger dark data date day dead deal dear
december deep deer delay deli deliver delivery depart desk dessert diesel dinner direct discount dish do doctor dog
dollar door double down dozen dress drink drive driver drop dry due duty each early earth east easy eat edge egg eight
elevator end energy engine enjoy enter entrance entry equal euro even evening event ever every exact exit extra eye
face fair fall family far farm fast father february fee feet fence ferry few field fifty film find fine finger finish
fire first fish five flat flight floor flour flower fly food foot for forest fork form forty forward four fox free
fresh friday fridge friend from front frozen fruit fuel full fun garage garden garlic gas gate general get gift ginger
girl give glass glove go gold golf good grain grand grape grass gray great green grey grill grocery ground group guest
guide hair half hall ham hand happy harbor hat have he head health heart heat heavy hello help her here high hill him
his history hold holiday home honey hope horse hospital hot hotel hour house how hundred ice if in inch indoor info
inn inside into invoice iron island it item jacket jam january jar jazz job juice july jump june just keep kettle key
kid kids kilo kind king kitchen kiwi knife know lady lake lamb lamp land lane large last late laugh laundry leaf learn
leather leave left lemon length less letter level library life lift light lime line lion list liter little live local
lock long look lost lot love low lucky lunch machine made mail main make mall man mango map march mark market master
match may me meal mean meat medium meet melon member menu metal meter metro middle midnight mile milk mind mine mint
minute mirror mix mobile modern moment monday money month moon more morning most mother motor mountain mouse mouth
move movie much museum mushroom music must my name narrow near neck need net never new news next nice night nine no
noise noon normal north nose not note nothing notice november now number nurse nut oak ocean october of off office oil
old olive on once one onion only onto open or orange orchard order other our out outdoor oven over own pack page paid
paint pair palace pan paper parcel park parking part party pass passage past pasta pastry path pay payment pea peach
peak pear pen pencil people pepper per phone photo piano picture pie piece pillow pilot pine pink pint pizza place
plain plan plane plant plate platform play please plum pocket point police pool pork port post potato pound powder
power present press price prime print prize public pull pump pure purple push put quality quarter queen quick quiet
quit quiz radio rail railway rain raise range rate raw reach read ready real receipt record red refund region rent
repair reserve rest return rice rich ride right ring rise river road roast robot rock roll roof room root rose round
route row rubber rule run safe sail salad sale salmon salt same sand sandwich saturday sauce sausage save say school
science screw sea seal season seat second see seed sell send senior september serve service set seven shade shape
share she sheep sheet shelf shell shine ship shirt shoe shop short should show shower side sign signal silk silver
simple single sink sister site six size skin sky sleep slow small smart smile smoke snack snow so soap sock soda sofa
soft sold some son song soon soup sour south space spare speed spice spicy spinach spoon sport spot spring square
stamp stand star start state station stay steak steam steel step stick still stock stone stop store storm story
straight street strong student studio style subtotal subway sugar suit summer sun sunday supper supply surf sweet swim
switch system table take tall tank tap tax taxi tea team ten tent term terminal test text thank thanks that the
theater their then there they thin thing third thirty this three through thursday ticket tie tiger tile time tip tire
tired to toast today together toilet tomato tomorrow too tool tooth top total touch tour towel tower town toy track
trade traffic train tram tree trip truck true try tube tuesday tuna tunnel turkey turn twelve twenty two under unit
until up upper us use valley value van vanilla vat vegan very view village vinegar visa visit voice void wait waiter
walk wall want warm warning wash waste watch water way we weather wednesday week weight welcome well west wet what
wheat wheel when where white who why wide wild will wind window wine winter wish with woman wood wool word work world
wrap write yard year yellow yes yogurt you young your zebra zero zone zoo
"""

WORDS = tuple(_COMMON.split())
"""Common words, including those of signs and receipts."""

_CONSONANTS = "bcdfghjklmnpqrstvwxz"
_VOWELS = "aeiouy"
# As on vouchers and licence plates: without 0, o, 1, i and l, which look alike in some fonts.
_CODE_LETTERS = "abcdefghjkmnpqrstuvwxyz"
_CODE_DIGITS = "23456789"


def sample_text(rng: np.random.Generator) -> str:
    """Draw a text of 1 to `MAX_LENGTH` lower-case letters and digits.

    Six in ten are common words, two in ten numbers; the rest are codes and invented words, so that a model
    cannot succeed by learning the list.
    """
    kind = rng.random()
    if kind < 0.6:
        return WORDS[rng.integers(len(WORDS))]
    if kind < 0.8:
        return _number(rng)
    return _code(rng) if kind < 0.9 else _invented(rng)


def _number(rng: np.random.Generator) -> str:
    length = rng.integers(1, 9)
    return "".join(map(str, rng.integers(0, 10, size=length)))


def _code(rng: np.random.Generator) -> str:
    letters = "".join(rng.choice(list(_CODE_LETTERS), size=rng.integers(1, 5)))
    digits = "".join(rng.choice(list(_CODE_DIGITS), size=rng.integers(1, 5)))
    return letters + digits if rng.random() < 0.7 else digits + letters


def _invented(rng: np.random.Generator) -> str:
    text = ""
    for _ in range(rng.integers(1, 5)):
        text += _CONSONANTS[rng.integers(len(_CONSONANTS))] + _VOWELS[rng.integers(len(_VOWELS))]
        if rng.random() < 0.4:
            text += _CONSONANTS[rng.integers(len(_CONSONANTS))]
    return text[:MAX_LENGTH]
