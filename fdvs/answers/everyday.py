"""Sentences about scenes that many videos show: what a question is compared with for contrast.

A question about nothing in particular is near to any text, one about something rare is far from
all; so how near a chapter is means little alone. These sentences, written for this purpose, say
how near plain everyday texts are to a question (see `fdvs.answers.fit`). Changing one changes
what `ask.min_fit` means: measure again with `research/eval_evidence.py`.
"""

from __future__ import annotations

_PEOPLE = [
    "",
    "A man stands in a room and looks at the camera.",
    "A woman sits on a chair and talks to someone.",
    "A baby lies on a bed and moves its arms.",
    "A toddler walks across the floor towards an adult.",
    "Two children play together with toys on a carpet.",
    "A boy in a red shirt runs over the grass.",
    "A girl with long hair smiles and waves her hand.",
    "A group of people stands in a circle outdoors.",
    "Several adults sit around a table with plates and glasses.",
    "A man holds a microphone and sings on a stage.",
    "A woman dances in front of a small crowd.",
    "A man plays the guitar while another one listens.",
    "A child opens a present beside a decorated tree.",
    "A family poses for a photograph in a garden.",
    "An old man wearing glasses reads a newspaper.",
    "A couple walks along a street hand in hand.",
    "A young woman takes a picture with her phone.",
    "Friends laugh and hug each other at a party.",
    "A teacher points at a board in front of a class.",
    "A man in a suit gives a speech to an audience.",
    "Musicians in uniform march along the road with drums.",
    "A child blows out the candles on a cake.",
    "A person washes their hands at the sink.",
    "A man lifts a baby into the air and the baby laughs.",
    "A girl eats with a spoon from a small bowl.",
    "A boy lies on a sofa and watches television.",
    "A woman brushes the hair of a little girl.",
    "A man sleeps in an armchair with his mouth open.",
    "People clap their hands and cheer.",
    "Someone writes with a pen on a sheet of paper.",
    "",
]
_ANIMALS = [
    "",
    "A dog runs after a ball on the lawn.",
    "A brown dog lies on the floor and chews on a toy.",
    "A cat sits on a window sill and looks outside.",
    "A kitten plays with a string on the carpet.",
    "Two puppies wrestle with each other.",
    "A bird pecks at seeds on the ground.",
    "Ducks swim on a pond near the shore.",
    "A horse walks along a fence with a rider.",
    "Cows graze on a green field.",
    "A monkey climbs on a branch.",
    "An elephant walks slowly through dry grass.",
    "A rabbit hops across the garden.",
    "A fish swims in a tank between plants.",
    "A tiger rests in the shade of a tree.",
    "A parrot sits on the hand of a man.",
    "",
]
_SPORT = [
    "",
    "A man rides a bicycle down a path.",
    "Skiers slide down a snowy slope.",
    "A boy on a skateboard jumps over a step.",
    "Players in white shirts kick a ball on a field.",
    "A woman swims in a pool with blue water.",
    "A surfer rides on a wave.",
    "Children slide down a slide on a playground.",
    "A girl swings back and forth on a swing.",
    "Two men fight in a ring with gloves.",
    "A gymnast turns on a mat.",
    "People jump into the water from a boat.",
    "A man climbs up a rock with a rope.",
    "Runners pass along a road with spectators on both sides.",
    "A player throws a ball through a hoop.",
    "A child tries to ride a small tricycle.",
    "",
]
_PLACES = [
    "",
    "Cars drive along a busy street in a city.",
    "A train arrives at a station and people wait.",
    "A bus stops at the side of the road.",
    "An aeroplane stands on a runway.",
    "A boat moves over calm water.",
    "Mountains covered with snow rise behind a lake.",
    "Waves roll onto a sandy beach.",
    "Trees with yellow leaves stand beside a path.",
    "Rain falls on the windscreen of a car.",
    "A kitchen with wooden cupboards and a white stove.",
    "A living room with a couch, a lamp and pictures on the wall.",
    "An empty corridor with several doors.",
    "A dark stage with coloured lights.",
    "A shop with shelves full of goods.",
    "A market with stalls of fruit and vegetables.",
    "A church with high windows and rows of benches.",
    "An office with desks and computers.",
    "A hospital room with a bed and machines.",
    "A farm with a barn and a tractor.",
    "A bridge over a river at night.",
    "",
]
_DOING = [
    "",
    "Someone cuts vegetables with a knife on a board.",
    "A cook stirs a pot on the stove.",
    "Hands knead dough on a table.",
    "A man repairs a machine with a tool.",
    "A woman waters the flowers in a garden.",
    "A worker paints a wall with a roller.",
    "A person types on a keyboard.",
    "Someone pours water into a glass.",
    "A man opens the door and walks into the house.",
    "A woman puts clothes into a washing machine.",
    "A person sweeps the floor with a broom.",
    "A man carries a box up the stairs.",
    "Someone takes an object from a shelf and puts it on the table.",
    "A person points at something in the distance.",
    "The camera moves slowly over the scene.",
    "The picture shows words in white letters.",
    "A hand holds a small object close to the camera.",
    "Two people shake hands and start to talk.",
    "A person puts on a coat and leaves the room.",
    "Fireworks light up the sky.",
    "",
]

EVERYDAY = tuple(
    line.strip()
    for lines in (_PEOPLE, _ANIMALS, _SPORT, _PLACES, _DOING)
    for line in lines
    if line.strip()
)
