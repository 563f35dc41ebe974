"""Words that those who make questions share with those who read them: of space, of things, and ones without meaning."""

CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
"""Of names that mean nothing, a consonant and a vowel by turns."""
BORROWED = (
    "akita black white red round flat wooden glazed porcelain metal small large top rim bowl plate stove ramekin "
    "cookie box jar tin spoon fork knife sponge lid handle can carton cup glass lamp clock ball towel brush table "
    "bottle rack pot pan"
)
"""Words for names that mean nothing in a question because they belong to other things."""

OBJECTS = (
    "alphabet soup",
    "cream cheese",
    "salad dressing",
    "bbq sauce",
    "ketchup",
    "tomato sauce",
    "butter",
    "milk",
    "chocolate pudding",
    "orange juice",
    "basket",
    "black bowl",
    "plate",
    "stove",
    "cookie box",
    "ramekin",
    "wooden cabinet",
    "wine bottle",
    "wine rack",
    "moka pot",
    "frying pan",
    "mug",
    "caddy",
    "book",
    "microwave",
    "drawer",
)
"""Things that LIBERO's instructions speak of."""

WORDS = """
a above across again ahead all along also among and angle answer apart appear are as ask at away back backward
behind below beside between both box boxes bbox but by camera cameras center centers centimeters central choose
circled clock clockwise close coffee closer closest cm coloured come comes contain cookie count counterclockwise counts
cup degrees depth describe detect did differ different direction directions distance distances distant does down
drawn drawer each east edge end face faces facing far farther farthest field fields film first flat for forward
frame frames from front fov give going green greatest gripper hand has height heights hence higher highest hold
holds horizontal hour how image in is it its json label largest layer layout least left leftmost length less let
letter lie lies long longer longest look looking looks low lower lowest magenta mainly many marks measured
meters middle moment moments most move moved moves much name near nearer nearest north northeast northwest not
nothing number numbered object objects of on one only opposite or orange order origin other over path picture
pictures place plan plate point points position previous put reach reaches rear red relation right rightmost
robot rotate same say scene second see seen shelf short shorter shortest show shown shows side sides size small
smallest smaller so somebody south southeast southwest stand standing stands start stay steeply step straight
tall taller tallest than that the their them then there these think third this three top total toward towards
turn turned turns two under unit up upper vertical video view viewer views was way west what when where which
while who whole whose whoever width with wooden x y yellow you z black blue white metal table tray carton can
glazed rim tin jar spoon fork knife sponge lid handle
"""
"""A token each, with a space before and without, small and capitalised: what questions about space are asked with."""
